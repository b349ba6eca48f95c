// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crinn/ann/toolbox/quantized_table.h"

namespace crinn::ann {

/// A query against both levels: with the values v of the first level's query, high = round(v / s)
/// and low = round(254 (v / s - high)), v is s (high + low / 254) to 15 bits.
struct TwoLevelQuery {
  QuantizedQuery first;
  HugeArray<int8_t> flat;         ///< [2, m]: high and low, a byte a dimension
  HugeArray<int8_t> first_low;    ///< low, in the planes of the first level's codes
  HugeArray<int8_t> second_high;  ///< high and low in the planes of the second level's codes
  HugeArray<int8_t> second_low;
  HugeArray<float> rest;  ///< [m]
  int32_t low_sum = 0, high_sum = 0;
  float scale = 0;  ///< of a product of whole numbers
};

namespace detail {

/// Codes of what the first level's codes leave of each vector, in parts of the first step:
///   x = first + step (c - half) / 2^bits,
/// packed as the first level packs its own, in records of their own.
class SecondLevel {
 public:
  SecondLevel(MatrixView<const float> base, const QuantizedRecords& first, int bits, int threads);

  void make(const QuantizedRecords& first, TwoLevelQuery& query) const;
  void prepare(const QuantizedRecords& first, const float* q, TwoLevelQuery& query) const;
  /// Value i of a vector by both levels.
  float decode(const QuantizedRecords& first, int64_t id, int64_t i) const;
  float between(const QuantizedRecords& first, int64_t a, int64_t b) const;
  /// The naive twin of a distance by both levels: decodes, and takes the query in fp32.
  float distance_slow(const QuantizedRecords& first, const float* q, int64_t id) const;

  const uint8_t* record(int64_t id) const { return records_.data() + id * record_bytes_; }
  float half() const { return static_cast<float>((1 << bits_) - 1) * 0.5f; }

  int bits_;
  int64_t code_bytes_, record_bytes_;
  HugeArray<uint8_t> records_;
};

}  // namespace detail

/// Vectors in two levels, as in LVQ (Aguerrebere et al., VLDB 2023): kFirst bits a dimension, and
/// kSecond more for what these leave. first() is a table of its own, for a first look at kFirst
/// bits; distance() reads both levels: codes of kFirst + kSecond bits against a query of 15. The
/// steps are those of the first level's scale rule, not a vector's own as in LVQ.
template <int kFirst, int kSecond>
class TwoLevelTable {
  static_assert((kFirst == 4 || kFirst == 8) && (kSecond == 4 || kSecond == 8));

 public:
  static constexpr const char* kName =
      kFirst == 4 ? (kSecond == 4 ? "two4x4" : "two4x8") : (kSecond == 4 ? "two8x4" : "two8x8");
  static constexpr bool kExact = false;
  using First = QuantizedTable<kFirst>;
  using Query = TwoLevelQuery;

  TwoLevelTable(MatrixView<const float> base, Metric metric, const CodeParams& params = {})
      : first_(base, metric, spanning(params)),
        second_(base, first_.records(), kSecond, params.threads) {}

  Query make_query() const {
    Query query;
    query.first = first_.make_query();
    second_.make(first_.records(), query);
    return query;
  }
  /// query.first is then prepared for first().
  void prepare(const float* q, Query& query) const { second_.prepare(first_.records(), q, query); }

  float distance(const Query& query, int64_t id) const {
    const detail::QuantizedRecords& r = first_.records();
    const uint8_t* codes = r.record(id);
    const int64_t bytes = r.record_bytes_;
    constexpr int kBias = kFirst == 8 ? 128 : 0, kMiddle = kSecond == 8 ? 128 : 0;
    // Codes of 8 bits come out centred at 128, those of 4 as they are; the rest goes into sums.
    const int32_t high =
        dot_packed<kFirst>(codes, query.first.codes.data(), bytes, bytes, kBias * query.high_sum);
    const int32_t low =
        dot_packed<kFirst>(codes, query.first_low.data(), bytes, bytes, kBias * query.low_sum);
    const uint8_t* rest = second_.record(id);
    const int64_t rest_bytes = second_.record_bytes_;
    const int32_t rest_high = dot_packed<kSecond>(rest, query.second_high.data(), rest_bytes,
                                                  rest_bytes, kMiddle * query.high_sum);
    float fine = static_cast<float>(rest_high) - kRestCentre * static_cast<float>(query.high_sum);
    if constexpr (kSecond == 8) {  // with 4 bits it is less than their own error
      const int32_t rest_low = dot_packed<kSecond>(rest, query.second_low.data(), rest_bytes,
                                                   rest_bytes, kMiddle * query.low_sum);
      fine +=
          (static_cast<float>(rest_low) - kRestCentre * static_cast<float>(query.low_sum)) / 254.0f;
    }
    const float coarse =
        static_cast<float>(high) - kFirstCentre * static_cast<float>(query.high_sum) +
        (static_cast<float>(low) - kFirstCentre * static_cast<float>(query.low_sum)) / 254.0f;
    const float products =
        query.scale * (coarse + fine / static_cast<float>(1 << kSecond)) + query.first.constant;
    return query.first.shift + r.norm(id) - (r.inner_product_ ? products : 2.0f * products);
  }

  float between(int64_t a, int64_t b) const { return second_.between(first_.records(), a, b); }
  void prefetch(int64_t id) const {
    first_.prefetch(id);
    prefetch_record(second_.record(id), second_.record_bytes_);
  }
  int64_t size() const { return first_.size(); }
  std::size_t bytes() const { return first_.bytes() + second_.records_.size(); }

  /// The first level alone; its query is Query::first.
  const First& first() const { return first_; }
  const detail::SecondLevel& second() const { return second_; }

 private:
  /// What the first level clips is lost to the second as well: four bits alone would clip more.
  static CodeParams spanning(CodeParams params) {
    if (kFirst == 4 && params.quantile == 0) params.quantile = kSecond == 4 ? 0.9999f : 1.0f;
    return params;
  }

  // What is left to subtract from a code's sum: its centre, less what dot_packed took as a bias.
  static constexpr float kFirstCentre = kFirst == 8 ? 0.0f : 7.5f;
  static constexpr float kRestCentre = kSecond == 8 ? -0.5f : 7.5f;

  First first_;
  detail::SecondLevel second_;
};

static_assert(CodeTable<TwoLevelTable<4, 4>> && CodeTable<TwoLevelTable<4, 8>> &&
              CodeTable<TwoLevelTable<8, 4>> && CodeTable<TwoLevelTable<8, 8>>);

/// The first level as the table that a search walks over; both() for what it has found.
template <class Both>
class FirstLevel {
 public:
  static constexpr const char* kName = Both::First::kName;
  static constexpr bool kExact = false;
  using Query = TwoLevelQuery;

  FirstLevel(MatrixView<const float> base, Metric metric, const CodeParams& params = {})
      : both_(base, metric, params) {}

  Query make_query() const { return both_.make_query(); }
  void prepare(const float* q, Query& query) const { both_.prepare(q, query); }
  float distance(const Query& query, int64_t id) const {
    return both_.first().distance(query.first, id);
  }
  void distance4(const Query& query, const int32_t* ids, float* out) const {
    both_.first().distance4(query.first, ids, out);
  }
  float between(int64_t a, int64_t b) const { return both_.first().between(a, b); }
  void prefetch(int64_t id) const { both_.first().prefetch(id); }
  int64_t size() const { return both_.size(); }
  std::size_t bytes() const { return both_.bytes(); }
  const Both& both() const { return both_; }

 private:
  Both both_;
};

static_assert(CodeTable<FirstLevel<TwoLevelTable<4, 4>>>);

}  // namespace crinn::ann
