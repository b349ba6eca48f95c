// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crinn/ann/toolbox/codes.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/base/huge_array.h"

namespace crinn::ann {

/// Base vectors as T = float, Fp16 or Bf16, against an fp32 query: exact distances to the stored
/// values. Fp16 is exact for integers up to 2048, and saturates at 65504.
template <class T>
class FloatTable {
 public:
  static constexpr const char* kName = std::same_as<T, float>  ? "fp32"
                                       : std::same_as<T, Fp16> ? "fp16"
                                                               : "bf16";
  static constexpr bool kExact = std::same_as<T, float>;

  struct Query {
    HugeArray<float> values;
  };

  FloatTable(MatrixView<const float> base, Metric metric, const CodeParams& params = {});

  Query make_query() const { return {HugeArray<float>(static_cast<std::size_t>(d_))}; }
  void prepare(const float* q, Query& query) const {
    for (int64_t j = 0; j < d_; ++j) query.values[j] = q[j];
  }
  float distance(const Query& query, int64_t id) const {
    return crinn::ann::distance(metric_, query.values.data(), row(id), d_);
  }
  float between(int64_t a, int64_t b) const {
    if constexpr (std::same_as<T, float>) {
      return crinn::ann::distance(metric_, row(a), row(b), d_);
    } else {
      return pair_distance(row(a), row(b));
    }
  }
  void prefetch(int64_t id) const {
    prefetch_record(row(id), d_ * static_cast<int64_t>(sizeof(T)));
  }
  /// The stored values of one vector [d].
  const T* row(int64_t id) const { return rows_.data() + id * stride_; }
  int64_t size() const { return n_; }
  std::size_t bytes() const { return rows_.size() * sizeof(T); }

 private:
  float pair_distance(const T* a, const T* b) const;

  Metric metric_;
  int64_t n_, d_, stride_;
  HugeArray<T> rows_;
};

using Fp32Table = FloatTable<float>;
using Fp16Table = FloatTable<Fp16>;
using Bf16Table = FloatTable<Bf16>;

extern template FloatTable<float>::FloatTable(MatrixView<const float>, Metric, const CodeParams&);
extern template FloatTable<Fp16>::FloatTable(MatrixView<const float>, Metric, const CodeParams&);
extern template FloatTable<Bf16>::FloatTable(MatrixView<const float>, Metric, const CodeParams&);
extern template float FloatTable<Fp16>::pair_distance(const Fp16*, const Fp16*) const;
extern template float FloatTable<Bf16>::pair_distance(const Bf16*, const Bf16*) const;

static_assert(CodeTable<Fp32Table> && CodeTable<Fp16Table> && CodeTable<Bf16Table>);

}  // namespace crinn::ann
