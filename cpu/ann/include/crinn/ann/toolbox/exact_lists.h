// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/parallel.h"
#include "crinn/ann/toolbox/pool.h"

namespace crinn::ann {

/// k-NN lists by comparing all pairs, n (n - 1) / 2 distances: for small n, where NN-descent is no
/// cheaper, and for short codes. The interface is that of NnDescent.
class ExactLists {
 public:
  /// between(a, b) is the distance of two nodes; it is called with a < b and holds for both.
  /// `progress` is told in rounds of tiles.
  template <class Distance>
  ExactLists(int64_t n, int k, int threads, Distance&& between,
             const BuildProgress* progress = nullptr)
      : n_(n),
        k_(static_cast<int>(std::min<int64_t>(k, n - 1))),
        lists_(static_cast<std::size_t>(n * k_), Candidate{std::numeric_limits<float>::infinity(),
                                                           std::numeric_limits<int32_t>::max()}) {
    if (k_ == 0) return;
    // Tiles meet in pairs, as in a tournament: in a round nobody plays twice, so that threads write
    // to different lists. An odd number of tiles gets one more that is empty.
    const int64_t tiles = (n + kTile - 1) / kTile, players = tiles + tiles % 2;
    parallel_for(threads, tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) compare_inside(tile, between);
    });
    for (int64_t round = 0; round + 1 < players; ++round) {
      parallel_for(threads, players / 2, 1, [&](int64_t begin, int64_t end) {
        for (int64_t pair = begin; pair < end; ++pair) {
          const int64_t turn = players - 1;
          const int64_t a = pair == 0 ? turn : (round + pair) % turn;
          const int64_t b = (round + turn - pair) % turn;
          compare(std::min(a, b), std::max(a, b), between);
        }
      });
      report(progress, round + 1, players - 1);
    }
  }

  /// min(k, n - 1) different nodes, nearest first, ties by id, without the node itself.
  std::span<const Candidate> list(int64_t id) const {
    return {lists_.data() + id * k_, static_cast<std::size_t>(k_)};
  }

 private:
  static constexpr int64_t kTile = 256;  // nodes whose codes share a cache

  template <class Distance>
  void compare_inside(int64_t tile, Distance&& between) {
    const int64_t end = std::min((tile + 1) * kTile, n_);
    for (int64_t i = tile * kTile; i < end; ++i) {
      for (int64_t j = i + 1; j < end; ++j) offer_both(i, j, between);
    }
  }

  template <class Distance>
  void compare(int64_t first, int64_t second, Distance&& between) {
    const int64_t first_end = std::min((first + 1) * kTile, n_);
    const int64_t second_end = std::min((second + 1) * kTile, n_);
    for (int64_t i = first * kTile; i < first_end; ++i) {
      for (int64_t j = second * kTile; j < second_end; ++j) offer_both(i, j, between);
    }
  }

  template <class Distance>
  void offer_both(int64_t i, int64_t j, Distance&& between) {
    const auto a = static_cast<int32_t>(i), b = static_cast<int32_t>(j);
    const float apart = between(a, b);
    offer(i, {apart, b});
    offer(j, {apart, a});
  }

  void offer(int64_t i, const Candidate& candidate) {
    Candidate* row = lists_.data() + i * k_;
    if (!nearer(candidate, row[k_ - 1])) return;
    int place = k_ - 1;
    for (; place > 0 && nearer(candidate, row[place - 1]); --place) row[place] = row[place - 1];
    row[place] = candidate;
  }

  int64_t n_;
  int k_;
  std::vector<Candidate> lists_;  // [n, k], nearest first
};

}  // namespace crinn::ann
