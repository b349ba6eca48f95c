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

struct NnDescentParams {
  int k = 32;          ///< length of a list
  int sample = 10;     ///< neighbours that a node passes on, each way and of each age
  int iterations = 8;  ///< at most; stops when fewer than 1 in 1,000 places change
  uint64_t seed = 0;
  int threads = 1;
  const BuildProgress* progress = nullptr;  ///< in rounds, of which not all may be needed
};

/// Approximate k-NN lists by NN-descent (Dong, Charikar, Li 2011): a neighbour of a neighbour is
/// likely a neighbour. In the pull form: a node reads everybody's list of the round before and
/// writes only its own, so the lists are the same at any number of threads.
class NnDescent {
 public:
  /// between(a, b) is the distance of two nodes.
  template <class Distance>
  NnDescent(int64_t n, const NnDescentParams& params, Distance&& between)
      : n_(n),
        k_(static_cast<int>(std::min<int64_t>(params.k, n - 1))),
        lists_(static_cast<std::size_t>(n * k_)),
        fresh_(lists_.size(), 1) {
    if (k_ > 0) start(params, between);
    for (int round = 0; k_ > 0 && round < params.iterations; ++round) {
      gather(params, round);
      if (join(params, between) * 1000 < n_ * k_) break;
      report(params.progress, round + 1, params.iterations);
    }
  }

  /// min(k, n - 1) different nodes, nearest first, without the node itself.
  std::span<const Candidate> list(int64_t id) const {
    return {lists_.data() + id * k_, static_cast<std::size_t>(k_)};
  }

 private:
  template <class Distance>
  void start(const NnDescentParams& params, Distance&& between) {
    parallel_for(params.threads, n_, 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Candidate* row = lists_.data() + i * k_;
        Rng rng(mix_seed(params.seed, static_cast<uint64_t>(i)));
        int count = 0;
        while (count < k_) {
          const auto drawn = static_cast<int32_t>(rng.below(static_cast<uint64_t>(n_)));
          bool taken = drawn == i;
          for (int j = 0; j < count && !taken; ++j) taken = row[j].id == drawn;
          if (taken && 2 * k_ > n_) {  // too few to draw from: take the next free one
            count = fill_rest(i, row, count);
            break;
          }
          if (!taken) row[count++] = {0, drawn};
        }
        for (int j = 0; j < k_; ++j) {
          row[j].estimate = between(static_cast<int32_t>(i), row[j].id);
        }
        std::sort(row, row + k_, nearer);
      }
    });
  }

  int fill_rest(int64_t i, Candidate* row, int count) const {
    for (int32_t id = 0; count < k_; ++id) {
      bool taken = id == i;
      for (int j = 0; j < count && !taken; ++j) taken = row[j].id == id;
      if (!taken) row[count++] = {0, id};
    }
    return count;
  }

  /// Who passes on whom in this round: fresh and old neighbours, forward and reverse, `sample`
  /// each.
  void gather(const NnDescentParams& params, int round) {
    const auto n = static_cast<std::size_t>(n_);
    const auto room = static_cast<std::size_t>(params.sample);
    for (auto& links : links_) links.assign(n * 2 * room, -1);
    std::vector<int32_t> sequence(n);
    for (std::size_t i = 0; i < n; ++i) sequence[i] = static_cast<int32_t>(i);
    Rng rng(mix_seed(params.seed ^ 0x6E6E64, static_cast<uint64_t>(round)));
    rng.shuffle(sequence);  // who comes first gets the reverse places
    std::vector<uint16_t> reverse[2] = {std::vector<uint16_t>(n, 0), std::vector<uint16_t>(n, 0)};
    for (const int32_t i : sequence) {
      std::size_t taken[2] = {0, 0};
      for (int j = 0; j < k_; ++j) {
        const std::size_t place = static_cast<std::size_t>(i) * static_cast<std::size_t>(k_) +
                                  static_cast<std::size_t>(j);
        const std::size_t age = fresh_[place] ? 0 : 1;
        if (taken[age] == room) continue;
        const auto other = static_cast<std::size_t>(lists_[place].id);
        links_[age][static_cast<std::size_t>(i) * 2 * room + taken[age]++] = lists_[place].id;
        uint16_t& used = reverse[age][other];
        if (used < room) links_[age][other * 2 * room + room + used++] = i;
        fresh_[place] = 0;
      }
    }
  }

  /// One round; returns the number of places that changed.
  template <class Distance>
  int64_t join(const NnDescentParams& params, Distance&& between) {
    const auto width = 2 * static_cast<std::size_t>(params.sample);
    std::vector<int64_t> changes(static_cast<std::size_t>(std::max(params.threads, 1)), 0);
    const auto slice = [&](int age, int32_t id) {
      return std::span(links_[age]).subspan(static_cast<std::size_t>(id) * width, width);
    };
    parallel_for_indexed(params.threads, n_, 64, [&](int thread, int64_t begin, int64_t end) {
      std::vector<int32_t> seen;
      for (int64_t i = begin; i < end; ++i) {
        const auto self = static_cast<int32_t>(i);
        seen.clear();
        for (int via_age = 0; via_age < 2; ++via_age) {
          for (const int32_t via : slice(via_age, self)) {
            if (via < 0) continue;
            for (int age = 0; age < 2 - via_age; ++age) {  // two old links were joined before
              for (const int32_t id : slice(age, via)) {
                if (id >= 0 && id != self) seen.push_back(id);
              }
            }
          }
        }
        std::sort(seen.begin(), seen.end());
        seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
        for (const int32_t id : seen) {
          changes[static_cast<std::size_t>(thread)] += offer(i, {between(self, id), id});
        }
      }
    });
    int64_t total = 0;
    for (const int64_t count : changes) total += count;
    return total;
  }

  int offer(int64_t i, const Candidate& candidate) {
    Candidate* row = lists_.data() + i * k_;
    if (!nearer(candidate, row[k_ - 1])) return 0;
    for (int j = 0; j < k_; ++j) {
      if (row[j].id == candidate.id) return 0;
    }
    uint8_t* fresh = fresh_.data() + i * k_;
    int place = k_ - 1;
    for (; place > 0 && nearer(candidate, row[place - 1]); --place) {
      row[place] = row[place - 1];
      fresh[place] = fresh[place - 1];
    }
    row[place] = candidate;
    fresh[place] = 1;
    return 1;
  }

  int64_t n_;
  int k_;
  std::vector<Candidate> lists_;   // [n, k], nearest first
  std::vector<uint8_t> fresh_;     // [n, k]: not passed on yet
  std::vector<int32_t> links_[2];  // fresh, old: [n, 2 sample], forward then reverse, -1 padded
};

}  // namespace crinn::ann
