// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

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

/// The part that does not depend on the number of bits at compile time. A record is
///   ids [lanes] int32, constant [lanes] fp32, factor [lanes] fp32,
///   codes [lanes / 16][groups / 2][16],
/// with lanes = degree rounded up to 16 and groups a multiple of 8.
class ResidualCodes {
 public:
  ResidualCodes(MatrixView<const float> base, Metric metric, const GraphView& graph, int bits,
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
  void pack(MatrixView<const float> base, const float* projected, const GraphView& graph,
            int64_t node, uint8_t* record) const;
};

/// What an entry of a table stands for besides the query: keeps it positive.
inline constexpr int kScanBias = 124;

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
    const uint8_t* record = codes_.record(node);
    const int64_t lanes = codes_.lanes_, stride = codes_.groups_ * 8;
    const auto* constants = reinterpret_cast<const float*>(record) + lanes;
    const uint8_t* blocks = record + lanes * 12;
    alignas(64) uint16_t sums[64];
    int64_t first = 0;
    for (; first + 32 <= lanes; first += 32) {
      sum_lookups<2>(blocks + first / 16 * stride, stride, codes_.groups_, query.table.data(),
                     sums);
      finish<32>(query, constants + first, constants + lanes + first, sums, distance,
                 estimates + first);
    }
    if (first < lanes) {
      sum_lookups<1>(blocks + first / 16 * stride, stride, codes_.groups_, query.table.data(),
                     sums);
      finish<16>(query, constants + first, constants + lanes + first, sums, distance,
                 estimates + first);
    }
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
  template <int kLanes>
  void finish(const Query& query, const float* constants, const float* factors,
              const uint16_t* sums, float distance, float* __restrict__ estimates) const {
    const int bias = detail::kScanBias * static_cast<int>(codes_.groups_);
    for (int i = 0; i < kLanes; ++i) {
      const float product = query.slope * static_cast<float>(static_cast<int>(sums[i]) - bias);
      estimates[i] = distance + (constants[i] + factors[i] * product);
    }
  }

  detail::ResidualCodes codes_;
};

}  // namespace crinn::ann
