// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/quantized_table.h"
#include "crinn/base/huge_array.h"

namespace crinn::ann {

/// The ids of a record: [i] is the i-th neighbour, -1 for none.
class RecordIds {
 public:
  RecordIds(const uint8_t* ids, int bytes) : ids_(ids), bytes_(bytes) {}
  int32_t operator[](int64_t i) const {
    if (bytes_ == 4) return reinterpret_cast<const int32_t*>(ids_)[i];
    const uint16_t id = reinterpret_cast<const uint16_t*>(ids_)[i];
    return id == kNone ? -1 : id;
  }

  static constexpr uint16_t kNone = 0xffff;

 private:
  const uint8_t* ids_;
  int bytes_;
};

/// Codes of all neighbours of a node inside the node's own record: expanding a node reads one run
/// of memory, and 16 neighbours share a register without horizontal sums. A record is
///   ids [lanes] uint16 where n <= 65,535, else int32; norm [lanes] fp16, (below 7 bits) factor
///   [lanes] fp16, codes [words][lanes][4],
/// with lanes = degree rounded up to 16. Costs about degree times the memory of a QuantizedTable,
/// which it holds as well.
template <int kBits = 8>
class InlineRecords {
 public:
  static constexpr const char* kName = kBits == 8   ? "inline8"
                                       : kBits == 7 ? "inline7"
                                       : kBits == 4 ? "inline4"
                                       : kBits == 2 ? "inline2"
                                                    : "inline1";
  using Query = QuantizedQuery;

  /// Copies ids and codes: graph may be dropped afterwards.
  InlineRecords(MatrixView<const float> base, Metric metric, const GraphView& graph,
                const CodeParams& params = {})
      : table_(base, metric, params),
        layout_(detail::pack_inline(table_.records(), graph.neighbors, params.threads, records_)) {}

  Query make_query() const { return table_.make_query(); }
  void prepare(const float* q, Query& query) const { table_.prepare(q, query); }

  /// The node's neighbours, then -1 up to lanes().
  RecordIds ids(int64_t node) const { return {record(node), layout_.id_bytes}; }
  /// The graph's degree rounded up to a multiple of 16.
  int64_t lanes() const { return layout_.lanes; }

  /// estimates [lanes()]: the distance to each neighbour of `node` as table().distance() gives it,
  /// but for norm and factor at half precision; +infinity where there is none.
  void score(const Query& query, int64_t node, float* estimates) const {
    const uint8_t* from = record(node);
    detail::score_block<kBits>(table_.records(), query, from + layout_.terms, from + layout_.codes,
                               layout_.lanes, estimates);
  }

  /// Codes of some vectors, interleaved as in a record.
  struct Block {
    int64_t lanes = 0;
    HugeArray<uint8_t> bytes;
  };
  /// For ids that every query scores, as entry points: much faster than by table().
  Block make_block(std::span<const int32_t> ids) const {
    std::vector<int32_t> lanes(ids.begin(), ids.end());
    lanes.resize(static_cast<std::size_t>(round_up(static_cast<int64_t>(ids.size()), 16)), -1);
    const detail::QuantizedRecords& codes = table_.records();
    Block block{static_cast<int64_t>(lanes.size()), {}};
    block.bytes = HugeArray<uint8_t>(static_cast<std::size_t>(codes.block_bytes(block.lanes)));
    codes.pack_block(lanes.data(), block.lanes, block.bytes.data());
    return block;
  }
  /// estimates [block.lanes]: of the ids that it was made of, then +infinity.
  void score(const Query& query, const Block& block, float* estimates) const {
    detail::score_block<kBits>(table_.records(), query, block.bytes.data(), block.lanes, estimates);
  }

  /// The first `lines` lines of the node's record; all by default.
  void prefetch(int64_t node, int lines = std::numeric_limits<int>::max()) const {
    prefetch_record(record(node), layout_.bytes, lines);
  }

  /// The same codes, one record a vector.
  const QuantizedTable<kBits>& table() const { return table_; }
  int64_t size() const { return table_.size(); }
  int64_t record_bytes() const { return layout_.bytes; }
  std::size_t bytes() const { return table_.bytes() + records_.size(); }

 private:
  const uint8_t* record(int64_t node) const { return records_.data() + node * layout_.bytes; }

  QuantizedTable<kBits> table_;
  HugeArray<uint8_t> records_;
  detail::InlineLayout layout_;
};

/// The codes of all vectors in blocks of kLanes places, for a scan of all of them or of partitions:
/// what wins where a graph must visit a large part of the points.
template <int kBits = 8, int kLanesOfBlock = 64>
class ScanBlocks {
  static_assert(kLanesOfBlock % 16 == 0);

 public:
  static constexpr const char* kName = kBits == 8   ? "scan8"
                                       : kBits == 7 ? "scan7"
                                       : kBits == 4 ? "scan4"
                                       : kBits == 2 ? "scan2"
                                                    : "scan1";
  static constexpr int64_t kLanes = kLanesOfBlock;
  using Query = QuantizedQuery;

  /// Places are ids.
  ScanBlocks(MatrixView<const float> base, Metric metric, const CodeParams& params = {})
      : ScanBlocks(base, metric, params, {}) {}

  /// places [kLanes * blocks]: the id at each place, -1 for none (see Partitions).
  ScanBlocks(MatrixView<const float> base, Metric metric, const CodeParams& params,
             std::span<const int32_t> places)
      : codes_(base, metric, kBits, params), block_bytes_(codes_.block_bytes(kLanes)) {
    detail::pack_scan(codes_, kLanes, places, params.threads, blocks_);
    codes_.records_ = {};  // the blocks hold all of it
  }

  Query make_query() const { return codes_.make_query(); }
  void prepare(const float* q, Query& query) const { codes_.prepare(q, query); }

  int64_t blocks() const { return static_cast<int64_t>(blocks_.size()) / block_bytes_; }
  /// estimates [kLanes]: the distances to what lies at places kLanes * block + 0, 1, ...; +infinity
  /// where nothing does.
  void score(const Query& query, int64_t block, float* estimates) const {
    detail::score_block<kBits>(codes_, query, blocks_.data() + block * block_bytes_, kLanes,
                               estimates);
  }
  int64_t size() const { return codes_.n_; }
  std::size_t bytes() const { return blocks_.size(); }

 private:
  detail::QuantizedRecords codes_;
  int64_t block_bytes_;
  HugeArray<uint8_t> blocks_;
};

}  // namespace crinn::ann
