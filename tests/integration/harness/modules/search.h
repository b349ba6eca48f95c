// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "crinn/ann/module.h"

namespace crinn::ann::plain {

/// Best-first search over the graph with full-precision distances: slow, short, right.
struct Search {
  static constexpr bool kExactEstimates = true;

  struct Scratch {
    uint64_t distance_count = 0;
    uint32_t round = 0;
    std::vector<uint32_t> seen;
    std::vector<bool> expanded;
  };

  explicit Search(const SearchInput& input) : input_(input) {}

  Scratch make_scratch() const {
    Scratch scratch;
    scratch.seen.assign(static_cast<std::size_t>(input_.base.rows), 0);
    return scratch;
  }

  void search(const float* query, int, int ef, Scratch& scratch,
              std::vector<Candidate>& out) const {
    out.clear();
    scratch.expanded.clear();
    ++scratch.round;
    for (const int32_t entry : input_.graph.entry_points) offer(query, entry, ef, scratch, out);
    while (true) {
      std::size_t next = 0;
      while (next < out.size() && scratch.expanded[next]) ++next;
      if (next == out.size()) break;
      scratch.expanded[next] = true;
      const int32_t* row = input_.graph.neighbors.row(out[next].id);
      for (int64_t j = 0; j < input_.graph.neighbors.cols && row[j] >= 0; ++j) {
        offer(query, row[j], ef, scratch, out);
      }
    }
  }

 private:
  void offer(const float* query, int32_t id, int ef, Scratch& scratch,
             std::vector<Candidate>& out) const {
    uint32_t& seen = scratch.seen[static_cast<std::size_t>(id)];
    if (seen == scratch.round) return;
    seen = scratch.round;
    ++scratch.distance_count;
    const float* row = input_.base.row(id);
    float estimate = 0;
    for (int64_t i = 0; i < input_.base.cols; ++i) {
      estimate += input_.metric == Metric::kInnerProduct
                      ? -query[i] * row[i]
                      : (query[i] - row[i]) * (query[i] - row[i]);
    }
    const auto place = std::upper_bound(
        out.begin(), out.end(), estimate,
        [](float value, const Candidate& candidate) { return value < candidate.estimate; });
    if (out.size() >= static_cast<std::size_t>(ef) && place == out.end()) return;
    const auto offset = place - out.begin();
    out.insert(place, {estimate, id});
    scratch.expanded.insert(scratch.expanded.begin() + offset, false);
    if (out.size() > static_cast<std::size_t>(ef)) {
      out.pop_back();
      scratch.expanded.pop_back();
    }
  }

  SearchInput input_;
};

}  // namespace crinn::ann::plain
