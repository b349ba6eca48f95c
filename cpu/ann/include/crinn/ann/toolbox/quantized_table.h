// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "crinn/ann/toolbox/codes.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/half.h"
#include "crinn/ann/toolbox/packed.h"
#include "crinn/base/huge_array.h"

namespace crinn::ann {

/// A query against quantised records: with x = P(o - mean) as codes c,
///   distance = shift + norm(o) + factor(o) * (slope * (sum c q8 - bias) + offset).
/// Under L2 norm = |o - mean|^2 over ALL dimensions (what the projection dropped costs only its
/// cross term) and shift = |q - mean|^2, so the estimate is a true squared distance. Under inner
/// product norm = 0 and shift = -<q, mean>.
struct QuantizedQuery {
  HugeArray<int8_t> codes;  ///< [8 / bits, plane]
  HugeArray<float> work;
  HugeArray<int8_t> bytes;
  int32_t bias = 0;
  float slope = 0, offset = 0, shift = 0;
  float constant = 0;  ///< <q, the centres of per-dimension scales>: in offset already
};

namespace detail {

/// The part of a table that does not depend on the number of bits at compile time. One record a
/// vector: packed codes from the start, fp32 norm in the last four bytes, and below 7 bits an fp32
/// factor before it, all padded to lines. Byte p holds the codes of dimensions p, P + p, 2 P + p...
/// where P is the number of code bytes.
class QuantizedRecords {
 public:
  QuantizedRecords(MatrixView<const float> base, Metric metric, int bits, const CodeParams& params);

  QuantizedQuery make_query() const;
  /// Returns the values [m] that the query's codes stand for, in steps where these differ; they
  /// live as long as q and query.work keep theirs.
  const float* prepare(const float* q, QuantizedQuery& query) const;
  float between_slow(int64_t a, int64_t b) const;
  /// The naive twin of distance(): decodes the record and takes the query in fp32.
  float distance_slow(const float* q, int64_t id) const;

  const uint8_t* record(int64_t id) const { return records_.data() + id * record_bytes_; }
  float norm(int64_t id) const { return float_at(record(id) + record_bytes_ - 4); }
  float factor(int64_t id) const { return float_at(record(id) + record_bytes_ - 8); }
  static float float_at(const uint8_t* p) {
    float value;
    __builtin_memcpy(&value, p, 4);
    return value;
  }

  bool inner_product_;
  int64_t n_, d_, m_, code_bytes_, record_bytes_;
  Projection projection_;
  ScalarQuantizer quantizer_;
  float mean_square_ = 0;
  float between_scale_ = 0;  ///< step^2 where one step serves all dimensions, else 0
  float norm_unit_ = 1;      ///< a power of two: norms in units of it fit into half precision
  HugeArray<uint8_t> records_;

  /// Interleaves the records of ids [lanes]: to `terms` go norm [lanes] fp16, in units of
  /// norm_unit_, and below 7 bits factor [lanes] fp16; to `codes` go [words][lanes][4]. Negative
  /// ids get an infinite norm and zero codes.
  void pack_lanes(const int32_t* ids, int64_t lanes, uint8_t* terms, uint8_t* codes) const;
  int64_t words() const { return (code_bytes_ + 3) / 4; }
  int64_t terms_bytes(int64_t lanes) const {
    return lanes * 2 * (is_fine(quantizer_.bits()) ? 1 : 2);
  }
  int64_t codes_bytes(int64_t lanes) const { return lanes * 4 * words(); }

  /// A block: terms, then codes.
  int64_t block_bytes(int64_t lanes) const { return terms_bytes(lanes) + codes_bytes(lanes); }
  void pack_block(const int32_t* ids, int64_t lanes, uint8_t* block) const {
    pack_lanes(ids, lanes, block, block + terms_bytes(lanes));
  }

 private:
  void finish_prepare(const float* values, float constant, float step, QuantizedQuery& query) const;
  void encode(const float* row, float* work, uint8_t* codes, uint8_t* record) const;
};

/// Where the parts of a record of InlineRecords lie.
struct InlineLayout {
  int64_t lanes = 0;
  int id_bytes = 4;              ///< 2 where all ids and "none" fit
  int64_t terms = 0, codes = 0;  ///< offsets; codes end with the record and begin at a line
  int64_t bytes = 0;             ///< of a record: whole lines
};

/// For each row of neighbors: ids [lanes], then what pack_lanes writes.
InlineLayout pack_inline(const QuantizedRecords& codes, MatrixView<const int32_t> neighbors,
                         int threads, HugeArray<uint8_t>& records);

/// What pack_block writes, block after block, over places (ids, -1 for none; a multiple of
/// `lanes`), or over all ids in order where there are no places.
void pack_scan(const QuantizedRecords& codes, int64_t lanes, std::span<const int32_t> places,
               int threads, HugeArray<uint8_t>& blocks);

/// The estimates of all lanes of what pack_lanes wrote; lanes is a multiple of 16.
template <int kBits>
inline void score_block(const QuantizedRecords& records, const QuantizedQuery& query,
                        const uint8_t* terms, const uint8_t* codes, int64_t lanes,
                        float* __restrict__ estimates) {
  constexpr int64_t kChunk = 64;
  const Fp16* norms = reinterpret_cast<const Fp16*>(terms);
  const Fp16* factors = norms + lanes;
  for (int64_t first = 0; first < lanes; first += kChunk) {
    const int64_t count = lanes - first < kChunk ? lanes - first : kChunk;
    alignas(64) int32_t sums[kChunk];
    dot_lanes<kBits>(codes + first * 4, records.words(), lanes, count, query.codes.data(),
                     records.record_bytes_, query.bias, sums);
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
    const auto slope = broadcast(query.slope), offset = broadcast(query.offset);
    const auto shift = broadcast(query.shift), unit = broadcast(records.norm_unit_);
    for (int64_t i = 0; i < count; i += kFloatLanes) {
      const auto sum = multiply_add(slope, load(sums + i), offset);
      const auto product =
          is_fine(kBits) ? add(shift, sum) : multiply_add(load(factors + first + i), sum, shift);
      const auto estimate = multiply_add(load(norms + first + i), unit, product);
      __builtin_memcpy(estimates + first + i, &estimate, sizeof estimate);
    }
#else
    for (int64_t i = 0; i < count; ++i) {
      float estimate = query.slope * static_cast<float>(sums[i]) + query.offset;
      if constexpr (!is_fine(kBits)) estimate *= to_float(factors[first + i]);
      estimates[first + i] =
          to_float(norms[first + i]) * records.norm_unit_ + (query.shift + estimate);
    }
#endif
  }
}

/// The same of what pack_block wrote.
template <int kBits>
inline void score_block(const QuantizedRecords& records, const QuantizedQuery& query,
                        const uint8_t* block, int64_t lanes, float* estimates) {
  score_block<kBits>(records, query, block, block + records.terms_bytes(lanes), lanes, estimates);
}

}  // namespace detail

/// Codes of kBits = 8, 7, 4, 2 or 1 bits a dimension, after any projection, against an int8 query.
/// Below 7 bits a factor a vector makes up for the shrinking of coarse codes, as in RaBitQ (Gao and
/// Long, SIGMOD 2024). kBits = 8 after PCA to 60 dimensions is one cache line a vector.
template <int kBits>
class QuantizedTable {
 public:
  static constexpr const char* kName = kBits == 8   ? "sq8"
                                       : kBits == 7 ? "sq7"
                                       : kBits == 4 ? "sq4"
                                       : kBits == 2 ? "sq2"
                                                    : "sq1";
  static constexpr bool kExact = false;
  using Query = QuantizedQuery;

  QuantizedTable(MatrixView<const float> base, Metric metric, const CodeParams& params = {})
      : r_(base, metric, kBits, params) {}

  Query make_query() const { return r_.make_query(); }
  void prepare(const float* q, Query& query) const { r_.prepare(q, query); }

  float distance(const Query& query, int64_t id) const {
    return finish(query, id,
                  dot_packed<kBits>(r_.record(id), query.codes.data(), r_.record_bytes_,
                                    r_.record_bytes_, query.bias));
  }

  /// Four at once: shares the loads of the query and the horizontal sums.
  void distance4(const Query& query, const int32_t* ids, float* out) const {
    int32_t sums[4];
    dot_packed4<kBits>(r_.record(ids[0]), r_.record(ids[1]), r_.record(ids[2]), r_.record(ids[3]),
                       query.codes.data(), r_.record_bytes_, r_.record_bytes_, query.bias, sums);
    for (int i = 0; i < 4; ++i) out[i] = finish(query, ids[i], sums[i]);
  }

  /// Fast for 8 bits with a global scale under L2, else by decoding.
  float between(int64_t a, int64_t b) const {
    if (kBits == 8 && r_.between_scale_ > 0) [[likely]] {
      const int32_t sum = dot_centered(r_.record(a), r_.record(b), r_.code_bytes_);
      return r_.norm(a) + r_.norm(b) - 2.0f * r_.between_scale_ * static_cast<float>(sum);
    }
    return r_.between_slow(a, b);
  }

  void prefetch(int64_t id) const { prefetch_record(r_.record(id), r_.record_bytes_); }
  int64_t size() const { return r_.n_; }
  /// Dimensions that the codes hold.
  int64_t dims() const { return r_.m_; }
  std::size_t bytes() const { return r_.records_.size(); }

  /// The record's bytes, for layouts that copy them (see inline_records.h).
  const detail::QuantizedRecords& records() const { return r_; }

 private:
  float finish(const Query& query, int64_t id, int32_t sum) const {
    const float estimate = query.slope * static_cast<float>(sum) + query.offset;
    return query.shift + r_.norm(id) + (is_fine(kBits) ? estimate : r_.factor(id) * estimate);
  }

  detail::QuantizedRecords r_;
};

using Sq8Table = QuantizedTable<8>;
using Sq7Table = QuantizedTable<7>;
using Sq4Table = QuantizedTable<4>;
using Sq2Table = QuantizedTable<2>;
using Sq1Table = QuantizedTable<1>;

static_assert(CodeTable<Sq8Table> && CodeTable<Sq7Table> && CodeTable<Sq4Table> &&
              CodeTable<Sq2Table> && CodeTable<Sq1Table>);

/// 8-bit codes after PCA, the query projected in int8: the table that serves graphs best.
class PcaU8Table : public QuantizedTable<8> {
 public:
  static constexpr const char* kName = "pca_u8";
  static CodeParams with_pca(CodeParams params) {
    params.projection = ProjectionKind::kPca;
    params.precision = QueryPrecision::kInt8;
    if (params.dims == 0) params.dims = 60;
    return params;
  }
  PcaU8Table(MatrixView<const float> base, Metric metric, const CodeParams& params = {})
      : QuantizedTable<8>(base, metric, with_pca(params)) {}
};

static_assert(CodeTable<PcaU8Table>);

}  // namespace crinn::ann
