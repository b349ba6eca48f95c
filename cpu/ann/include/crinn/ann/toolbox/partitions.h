// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/inline_records.h"

namespace crinn::ann {

struct PartitionParams {
  int64_t lists = 0;   ///< about how many; 0: the square root of n. Lists of 16 points at least
  int iterations = 8;  ///< of Lloyd's algorithm
  int sample = 48;     ///< vectors a list that the centres are trained on
  uint64_t seed = 0;
  int threads = 1;
};

namespace detail {

/// Who lies where. List l fills the blocks first_block[l] to first_block[l + 1].
struct Cells {
  std::vector<int32_t> places;       ///< ids list by list, ascending; -1 up to a block's end
  std::vector<int64_t> first_block;  ///< [lists + 1]
  std::vector<int64_t> sizes;        ///< [lists], none of them zero
  std::vector<float> centres;        ///< [lists, d]: the means
};

/// k-means over a sample, in at most 60 principal axes and by int8 estimates; then every vector
/// joins its nearest centre. The same for a seed at any number of threads.
Cells make_cells(MatrixView<const float> base, int64_t lanes, const PartitionParams& params);

}  // namespace detail

/// The base as lists of near vectors, for searches that look at the nearest lists only (inverted
/// files: Jegou, Douze, Schmid 2011). Small cells start anew inside large ones while they are
/// trained, and what is still longer than four times the mean is cut: no list is absurd, not even
/// of duplicates. Lists lie in blocks of kLanes places: ScanBlocks<bits, Partitions::kLanes> and
/// ResidualBlocks hold their codes.
class Partitions {
 public:
  static constexpr int64_t kLanes = 32;

  struct Query {
    QuantizedQuery codes;
    std::vector<Candidate> lists;  ///< a heap of what next() has not returned
    float nearest = 0, farthest = 0;
  };

  Partitions(MatrixView<const float> base, Metric metric, const PartitionParams& params = {})
      : metric_(metric),
        d_(base.cols),
        cells_(detail::make_cells(base, kLanes, params)),
        ranks_(centres(), metric,
               {.projection = ProjectionKind::kPca,
                .dims = 60,
                .precision = QueryPrecision::kInt8,
                .seed = params.seed,
                .threads = params.threads}) {}

  Query make_query() const {
    Query query{ranks_.make_query(), {}};
    query.lists.reserve(static_cast<std::size_t>(lists()));
    return query;
  }

  /// Estimates the distances of all centres; next() then returns the lists, the nearest first.
  void rank(const float* q, Query& query) const {
    ranks_.prepare(q, query.codes);
    query.lists.clear();
    for (int64_t first = 0; first < lists(); first += ranks_.kLanes) {
      alignas(64) float estimates[ScanBlocks<8>::kLanes];
      ranks_.score(query.codes, first / ranks_.kLanes, estimates);
      const int64_t count = std::min(lists() - first, ranks_.kLanes);
      for (int64_t i = 0; i < count; ++i) {
        query.lists.push_back({estimates[i], static_cast<int32_t>(first + i)});
      }
    }
    const auto [near, far] = std::minmax_element(query.lists.begin(), query.lists.end(), nearer);
    query.nearest = near->estimate;
    query.farthest = far->estimate;
    std::make_heap(query.lists.begin(), query.lists.end(), farther);
  }

  /// The nearest list left and the estimate of its centre's distance; while !query.lists.empty().
  Candidate next(Query& query) const {
    std::pop_heap(query.lists.begin(), query.lists.end(), farther);
    const Candidate list = query.lists.back();
    query.lists.pop_back();
    return list;
  }

  int64_t lists() const { return static_cast<int64_t>(cells_.sizes.size()); }
  int64_t size(int64_t list) const { return cells_.sizes[static_cast<std::size_t>(list)]; }
  /// Blocks first_block(list) up to first_block(list + 1) are the list's.
  int64_t first_block(int64_t list) const {
    return cells_.first_block[static_cast<std::size_t>(list)];
  }
  int64_t blocks() const { return cells_.first_block.back(); }
  /// The ids at the kLanes places of a block, -1 from where its list has ended.
  const int32_t* ids(int64_t block) const { return cells_.places.data() + block * kLanes; }
  std::span<const int32_t> places() const { return cells_.places; }

  MatrixView<const float> centres() const { return {cells_.centres.data(), lists(), d_}; }
  /// The exact distance of a centre.
  float centre_distance(const float* q, int64_t list) const {
    return distance(metric_, q, centres().row(list), d_);
  }

 private:
  static constexpr auto farther = [](const Candidate& a, const Candidate& b) {
    return nearer(b, a);
  };

  Metric metric_;
  int64_t d_;
  detail::Cells cells_;
  ScanBlocks<8> ranks_;
};

}  // namespace crinn::ann
