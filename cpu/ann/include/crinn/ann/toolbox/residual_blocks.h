// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crinn/ann/toolbox/partitions.h"
#include "crinn/ann/toolbox/residual_records.h"

namespace crinn::ann {

/// Codes of kBits = 1 or 2 bits a dimension of what separates vectors from their list's centre, in
/// the blocks of Partitions (RaBitQ over inverted files: Gao, Long, SIGMOD 2024). The formula is
/// that of ResidualRecords: errors shrink with the lists, and blocks are scored by look-ups. With
/// one list it is a scan of everything around the mean.
template <int kBits = 1>
class ResidualBlocks {
  static_assert(kBits == 1 || kBits == 2);

 public:
  static constexpr const char* kName = kBits == 1 ? "residual_scan1" : "residual_scan2";
  static constexpr int64_t kLanes = Partitions::kLanes;
  using Query = ResidualQuery;

  /// Copies ids and codes. At most 1,056 / kBits dimensions are kept, so params.projection is not
  /// kNone, else Error (usage).
  ResidualBlocks(MatrixView<const float> base, Metric metric, const Partitions& partitions,
                 const CodeParams& params)
      : codes_(base, metric, {partitions.places().data(), partitions.blocks(), kLanes},
               partitions.centres(), lists_of_blocks(partitions), kBits, params),
        blocks_(partitions.blocks()) {}

  Query make_query() const { return codes_.make_query(); }
  void prepare(const float* q, Query& query) const { codes_.prepare(q, query); }

  /// estimates [kLanes]: the distances to the ids of the block, whose list's centre is at
  /// `distance`; +infinity where there is none.
  void score(const Query& query, int64_t block, float distance, float* estimates) const {
    if (block + 1 < blocks_) prefetch(block + 1);  // a list's blocks are read in order
    detail::score_residuals(codes_, query, block, distance, estimates);
  }
  void prefetch(int64_t block) const {
    prefetch_record(codes_.record(block), codes_.record_bytes_);
  }

  int64_t size() const { return codes_.n_; }
  std::size_t bytes() const { return codes_.records_.size(); }

 private:
  static std::vector<int32_t> lists_of_blocks(const Partitions& partitions) {
    std::vector<int32_t> lists;
    for (int64_t list = 0; list < partitions.lists(); ++list) {
      lists.resize(static_cast<std::size_t>(partitions.first_block(list + 1)),
                   static_cast<int32_t>(list));
    }
    return lists;
  }

  detail::ResidualCodes codes_;
  int64_t blocks_;
};

}  // namespace crinn::ann
