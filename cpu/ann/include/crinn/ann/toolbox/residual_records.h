// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/codes.h"
#include "crinn/ann/toolbox/fast_scan.h"
#include "crinn/base/huge_array.h"

namespace crinn::ann {

/// A query against residual codes: P(q - mean) as tables of FastScan.
struct ResidualQuery {
  HugeArray<uint8_t> table;  ///< [groups][16] in the order of scan_table_row
  HugeArray<float> work;
  HugeArray<int8_t> bytes;
  float slope = 0;  ///< of a whole number of the table
};

namespace detail {

// Codes are packed by the library and read by these headers: where the two were compiled for
// instruction sets with other layouts, a program does not link.
#if defined(CRINN_SIMD_VBMI)
inline namespace codes_of_lanes {
#else
inline namespace codes_of_pairs {
#endif

/// The part that does not depend on the number of bits at compile time. A record is
///   ids [lanes] int32, constant [lanes] fp32, factor [lanes] fp32,
///   codes [lanes / 16][groups * 8] in the order of scan_code_byte,
/// with lanes rounded up to 16 and groups a multiple of 8.
class ResidualCodes {
 public:
  /// A record a node: its neighbours' steps from it.
  ResidualCodes(MatrixView<const float> base, Metric metric, const GraphView& graph, int bits,
                const CodeParams& params);
  /// A record a row of `members` (ids, -1 padded): their steps from centre centre_of[row].
  ResidualCodes(MatrixView<const float> base, Metric metric, MatrixView<const int32_t> members,
                MatrixView<const float> centres, std::span<const int32_t> centre_of, int bits,
                const CodeParams& params);

  ResidualQuery make_query() const;
  void prepare(const float* q, ResidualQuery& query) const;
  const uint8_t* record(int64_t node) const { return records_.data() + node * record_bytes_; }

  bool inner_product_;
  int bits_;
  int64_t n_, d_, m_, groups_, lanes_, record_bytes_;
  Projection projection_;
  HugeArray<uint8_t> records_;

 private:
  /// A vector, and P (vector - mean) [m].
  struct Point {
    const float* row;
    const float* projected;
  };
  ResidualCodes(MatrixView<const float> base, Metric metric, int64_t records, int64_t lanes,
                int bits, const CodeParams& params);
  void project(const float* row, float* work, float* out) const;
  void open(const int32_t* ids, int64_t count, uint8_t* record) const;
  void pack(const Point& from, const Point& to, int64_t lane, float* residual,
            uint8_t* record) const;
};

}  // namespace codes_of_*

/// What an entry of a table stands for besides the query: keeps it positive.
inline constexpr int kScanBias = 124;

template <int kLanes>
inline void finish_residuals(const ResidualCodes& codes, const ResidualQuery& query,
                             const float* constants, const float* factors, const uint16_t* sums,
                             float distance, float* __restrict__ estimates) {
  const int bias = kScanBias * static_cast<int>(codes.groups_);
  for (int i = 0; i < kLanes; ++i) {
    const float product = query.slope * static_cast<float>(static_cast<int>(sums[i]) - bias);
    estimates[i] = distance + (constants[i] + factors[i] * product);
  }
}

/// estimates [lanes]: the distance to each member of a record, from that to where its steps begin.
inline void score_residuals(const ResidualCodes& codes, const ResidualQuery& query,
                            int64_t record_index, float distance, float* estimates) {
  const uint8_t* record = codes.record(record_index);
  const int64_t lanes = codes.lanes_, stride = codes.groups_ * 8;
  const auto* constants = reinterpret_cast<const float*>(record) + lanes;
  const float* factors = constants + lanes;
  const uint8_t* blocks = record + lanes * 12;
  alignas(64) uint16_t sums[32];
  int64_t first = 0;
  for (; first + 32 <= lanes; first += 32) {
    sum_lookups<2>(blocks + first / 16 * stride, stride, codes.groups_, query.table.data(), sums);
    finish_residuals<32>(codes, query, constants + first, factors + first, sums, distance,
                         estimates + first);
  }
  if (first < lanes) {
    sum_lookups<1>(blocks + first / 16 * stride, stride, codes.groups_, query.table.data(), sums);
    finish_residuals<16>(codes, query, constants + first, factors + first, sums, distance,
                         estimates + first);
  }
}

}  // namespace detail

/// Codes of kBits = 1 or 2 bits a dimension of what separates a node from each of its neighbours,
/// inside the node's own record (RaBitQ: Gao, Long, SIGMOD 2024; SymphonyQG: Gou et al., SIGMOD
/// 2025). With x = P(neighbour - node) as levels s (+-1, or +-1 and +-3), f = |x|^2 / <x, s>:
///   |q - neighbour|^2 = |q - node|^2 + |neighbour - node|^2 - 2 <q - node, neighbour - node>,
/// and the product is estimated by f <P(q - node), s>. The distance to the node is the caller's, so
/// errors shrink with the residuals as a search closes in; few bits are enough, and they are scored
/// by look-ups. The norm is that of all dimensions: what P dropped costs its cross term only.
template <int kBits = 1>
class ResidualRecords {
  static_assert(kBits == 1 || kBits == 2);

 public:
  static constexpr const char* kName = kBits == 1 ? "residual1" : "residual2";
  using Query = ResidualQuery;

  /// Copies ids and codes: graph may be dropped afterwards. At most 1,056 / kBits dimensions are
  /// kept, so params.projection is not kNone, else Error (usage). Takes n * dims floats while it
  /// builds.
  ResidualRecords(MatrixView<const float> base, Metric metric, const GraphView& graph,
                  const CodeParams& params)
      : codes_(base, metric, graph, kBits, params) {}

  Query make_query() const { return codes_.make_query(); }
  void prepare(const float* q, Query& query) const { codes_.prepare(q, query); }

  /// The node's neighbours, then -1 up to lanes(). Aligned to 64 bytes.
  const int32_t* ids(int64_t node) const {
    return reinterpret_cast<const int32_t*>(codes_.record(node));
  }
  /// The graph's degree rounded up to a multiple of 16.
  int64_t lanes() const { return codes_.lanes_; }

  /// estimates [lanes()]: the distance to each neighbour of `node`, whose own is `distance`;
  /// +infinity where there is none.
  void score(const Query& query, int64_t node, float distance, float* estimates) const {
    detail::score_residuals(codes_, query, node, distance, estimates);
  }

  /// The first `lines` lines of the node's record; all by default.
  void prefetch(int64_t node, int lines = std::numeric_limits<int>::max()) const {
    prefetch_record(codes_.record(node), codes_.record_bytes_, lines);
  }

  int64_t size() const { return codes_.n_; }
  int64_t dims() const { return codes_.m_; }
  int64_t record_bytes() const { return codes_.record_bytes_; }
  std::size_t bytes() const { return codes_.records_.size(); }

 private:
  detail::ResidualCodes codes_;
};

}  // namespace crinn::ann
