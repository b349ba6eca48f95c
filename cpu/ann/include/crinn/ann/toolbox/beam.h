// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/pool.h"
#include "crinn/ann/toolbox/visited.h"

namespace crinn::ann {

/// What one thread's beam searches over a graph of n nodes write to.
struct BeamScratch {
  explicit BeamScratch(int64_t n = 0) : visited(n) {}

  VisitedEpochs<uint16_t> visited;
  LinearPool pool;
  std::vector<Candidate> found;  ///< the result: nearest first
  std::vector<int32_t> fresh;
  uint64_t distance_count = 0;
};

/// Best-first search from `entries` (unique) with a pool of `ef`; the nodes found are in
/// scratch.found, nearest first. row(id) is the node's neighbours as a span of ids that a negative
/// one may end, score(id) its distance to what is sought, prefetch(id) brings in what score(id)
/// reads. What builds graphs; a search module may use it too.
template <class Row, class Score, class Prefetch>
void beam_search(std::span<const int32_t> entries, int ef, Row&& row, Score&& score,
                 Prefetch&& prefetch, BeamScratch& scratch) {
  constexpr std::size_t kAhead = 4;  // distances whose records are on their way
  LinearPool& pool = scratch.pool;
  auto& visited = scratch.visited;
  pool.reset(ef);
  visited.reset();
  for (const int32_t id : entries) {
    if (!visited.test_and_set(id)) pool.insert(score(id), id);
  }
  scratch.distance_count += entries.size();
  while (pool.has_next()) {
    scratch.fresh.clear();
    for (const int32_t id : row(pool.pop_next().id)) {
      if (id < 0) break;
      if (!visited.test_and_set(id)) scratch.fresh.push_back(id);
    }
    const std::vector<int32_t>& fresh = scratch.fresh;
    for (std::size_t i = 0; i < fresh.size() && i < kAhead; ++i) prefetch(fresh[i]);
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      if (i + kAhead < fresh.size()) prefetch(fresh[i + kAhead]);
      pool.insert(score(fresh[i]), fresh[i]);
    }
    scratch.distance_count += fresh.size();
  }
  pool.drain(scratch.found);
}

/// Follows the nearest neighbour until none is nearer: the descent through HNSW's upper layers.
template <class Row, class Score>
Candidate greedy_descent(Candidate from, Row&& row, Score&& score) {
  for (bool moved = true; moved;) {
    moved = false;
    for (const int32_t id : row(from.id)) {
      if (id < 0) break;
      const float distance = score(id);
      if (distance < from.estimate) {
        from = {distance, id};
        moved = true;
      }
    }
  }
  return from;
}

}  // namespace crinn::ann
