// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "crinn/ann/toolbox/codes.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/integer.h"
#include "crinn/base/huge_array.h"

namespace crinn::ann {

/// Base vectors whose values are integers within a span of 256 (pictures, SIFT), as one byte a
/// dimension: every distance is exact. A query that is not of that kind is compared in fp32, which
/// is slower and exact as well.
class U8ExactTable {
 public:
  static constexpr const char* kName = "u8exact";
  static constexpr bool kExact = true;

  struct Query {
    HugeArray<uint8_t> bytes;
    HugeArray<float> values;  ///< [d] q - lowest under L2, q under inner product
    bool integral = false;
    float shift = 0;  ///< what the lowest value contributes to an inner product
  };

  /// Whether the table can hold `base`.
  static bool fits(MatrixView<const float> base);

  /// Throws Error (usage) where !fits(base).
  U8ExactTable(MatrixView<const float> base, Metric metric, const CodeParams& params = {});

  Query make_query() const {
    return {HugeArray<uint8_t>(static_cast<std::size_t>(stride_)),
            HugeArray<float>(static_cast<std::size_t>(d_)), false, 0};
  }
  void prepare(const float* q, Query& query) const;

  float distance(const Query& query, int64_t id) const {
    if (query.integral) [[likely]] {
      if (!inner_product_) {
        return static_cast<float>(l2_u8(query.bytes.data(), row(id), stride_));
      }
      // <q, x + low> with q = b + low: <b, x> + low sum x + <q, low>, where sum x <= 255 d.
      const int32_t products = dot_u8(row(id), query.bytes.data(), stride_);
      return query.shift - static_cast<float>(products) - low_sum(id);
    }
    return inner_product_ ? query.shift - dot(query.values.data(), row(id), d_)
                          : l2(query.values.data(), row(id), d_);
  }
  float between(int64_t a, int64_t b) const {
    if (!inner_product_) return static_cast<float>(l2_u8(row(a), row(b), stride_));
    const int32_t products = dot_u8(row(a), row(b), stride_);
    return -static_cast<float>(products) - low_sum(a) - low_sum(b) -
           low_ * low_ * static_cast<float>(d_);
  }
  void prefetch(int64_t id) const { prefetch_record(row(id), stride_); }
  const uint8_t* row(int64_t id) const { return rows_.data() + id * stride_; }
  int64_t size() const { return n_; }
  std::size_t bytes() const { return rows_.size() + sums_.size() * sizeof(float); }

 private:
  /// lowest value * sum of the bytes: part of an inner product, nothing when the lowest is zero.
  float low_sum(int64_t id) const { return sums_.empty() ? 0.0f : sums_[id]; }

  bool inner_product_;
  int64_t n_, d_, stride_;
  float low_ = 0;  ///< value = byte + low
  HugeArray<uint8_t> rows_;
  HugeArray<float> sums_;
};

static_assert(CodeTable<U8ExactTable>);

/// Exact integers where the base allows them, else the Other table; decided once.
template <CodeTable Other>
class IntegerOr {
 public:
  static constexpr const char* kName = Other::kName;
  static constexpr bool kExact = Other::kExact;

  struct Query {
    std::optional<U8ExactTable::Query> integers;
    std::optional<typename Other::Query> other;
  };

  IntegerOr(MatrixView<const float> base, Metric metric, const CodeParams& params = {}) {
    if (U8ExactTable::fits(base)) {
      integers_.emplace(base, metric, params);
    } else {
      other_.emplace(base, metric, params);
    }
  }

  /// Whether distances are exact for the base at hand.
  bool exact() const { return kExact || integers_.has_value(); }

  Query make_query() const {
    Query query;
    if (integers_) {
      query.integers.emplace(integers_->make_query());
    } else {
      query.other.emplace(other_->make_query());
    }
    return query;
  }
  void prepare(const float* q, Query& query) const {
    if (integers_) {
      integers_->prepare(q, *query.integers);
    } else {
      other_->prepare(q, *query.other);
    }
  }
  float distance(const Query& query, int64_t id) const {
    return integers_ ? integers_->distance(*query.integers, id)
                     : other_->distance(*query.other, id);
  }
  float between(int64_t a, int64_t b) const {
    return integers_ ? integers_->between(a, b) : other_->between(a, b);
  }
  void prefetch(int64_t id) const {
    if (integers_) {
      integers_->prefetch(id);
    } else {
      other_->prefetch(id);
    }
  }
  int64_t size() const { return integers_ ? integers_->size() : other_->size(); }
  std::size_t bytes() const { return integers_ ? integers_->bytes() : other_->bytes(); }

 private:
  std::optional<U8ExactTable> integers_;
  std::optional<Other> other_;
};

}  // namespace crinn::ann
