// SPDX-License-Identifier: Apache-2.0
// Found by crinn-train: run hour, seed 1, archive id 54.
// confirmed: 1.742x [1.708, 1.777] the baseline's area on held-out queries of mnist-784-euclidean
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/entries.h"
#include "crinn/ann/toolbox/order.h"
#include "crinn/ann/toolbox/pool.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/ann/toolbox/quantized_table.h"
#include "crinn/ann/toolbox/visited.h"

// A derivation of the search grammar:
//   plan=graph layout=separate table=projected bits=4 turned=pca_rotated all_axes=92 precision=int8
//   clip=at quantile=0.98 row_lines=1 code_ahead=8 mark=seen place=as_built entries=graph
//   graph_entries=64 start=nearest starts=1 visited=epochs16 walk=one_by_one peek_pool=linear
//   peek_fetch=inserted stop=patience patience=32 patience_share=75 finish=estimates
// In words:
// - Vectors are 4-bit codes of 92 rotated principal axes in a table of their own, fetched 8 ahead;
//   nodes are marked when seen.
// - Queries are projected in int8.
// - Values beyond the quantile 0.98 are clipped.
// - Records lie in the graph's own order.
// - Entry points are the first 64 of the graph.
// - A search starts from the nearest 1 entry points.
// - Nodes are expanded one by one, fetched when they enter the pool, from a sorted array.
// - A search ends when all of the ef nearest are expanded, or after 32 steps and 75 % of ef without
//   one of the k nearest.
namespace crinn::ann::champion {

class Search {
 public:
  using Codes = Sq4Table;
  static constexpr bool kExactEstimates = false;

  struct Scratch {
    Codes::Query query;
    VisitedEpochs<uint16_t> visited;
    LinearPool pool{};
    std::vector<int32_t> fresh{};
    std::vector<float> estimates{};
    std::vector<Candidate> entries{};
    LinearPool nearest{};
    int idle = 0;
    uint64_t distance_count = 0;
  };

  explicit Search(const SearchInput& input)
      : placement_(input.graph.order, input.base.rows),
        degree_(input.graph.neighbors.cols),
        rows_(place_rows(input.graph, placement_)),
        codes_(make_codes(input, placement_)) {
    for (const int32_t id : choose_entries(input)) {
      const int32_t place = placement_.place_of(id);
      if (std::find(entries_.begin(), entries_.end(), place) == entries_.end()) {
        entries_.push_back(place);
      }
    }
  }

  Scratch make_scratch() const {
    Scratch scratch{codes_.make_query(), VisitedEpochs<uint16_t>(codes_.size())};
    const std::size_t most = std::max(entries_.size(), static_cast<std::size_t>(degree_));
    scratch.fresh.resize(most);
    scratch.estimates.resize(most);
    return scratch;
  }

  void search(const float* query, [[maybe_unused]] int k, int ef, Scratch& scratch,
              std::vector<Candidate>& out) const {
    codes_.prepare(query, scratch.query);
    scratch.visited.reset();
    scratch.pool.reset(ef);
    scratch.nearest.reset(k);
    scratch.idle = 0;
    enter(scratch);
    while (scratch.pool.has_next()) {
      const Candidate next = scratch.pool.pop_next();
      expand(next.id, scratch);
      if (++scratch.idle > 32 + ef * 75 / 100 && scratch.nearest.size() == k) {
        break;
      }
    }
    scratch.pool.drain(out);
    if (!placement_.identity()) {
      for (Candidate& candidate : out) candidate.id = placement_.id_at(candidate.id);
    }
  }

 private:
  static CodeParams params(const SearchInput& input) {
    CodeParams params;
    params.seed = input.seed;
    params.threads = input.threads;
    params.projection = ProjectionKind::kPcaRotated;
    params.dims = 92;
    params.precision = QueryPrecision::kInt8;
    params.quantile = 0.98f;
    return params;
  }

  static std::vector<int32_t> choose_entries(const SearchInput& input) {
    const auto all = input.graph.entry_points;
    const auto count = std::min<std::size_t>(all.size(), 64);
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  void enter(Scratch& scratch) const {
    score_entries(scratch);
    scratch.entries.clear();
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      scratch.entries.push_back({scratch.estimates[i], entries_[i]});
    }
    const auto first = scratch.entries.begin();
    const auto last = first + std::min<std::ptrdiff_t>(1, scratch.entries.end() - first);
    std::partial_sort(first, last, scratch.entries.end(), nearer);
    for (auto entry = first; entry != last; ++entry) {
      scratch.visited.test_and_set(entry->id);
      accept(entry->estimate, entry->id, scratch);
    }
    scratch.distance_count += entries_.size();
  }

  static Codes make_codes(const SearchInput& input, const Placement& placement) {
    if (placement.identity()) return Codes(input.base, input.metric, params(input));
    const HugeArray<float> vectors = place_vectors(input.base, placement);
    return Codes({vectors.data(), input.base.rows, input.base.cols}, input.metric, params(input));
  }

  void score_entries(Scratch& scratch) const {
    distances(codes_, scratch.query, entries_.data(), static_cast<int>(entries_.size()),
              scratch.estimates.data());
  }

  void fetch(int32_t place) const {
    prefetch_record(rows_.data() + place * degree_, degree_ * 4, 1);
  }

  void expand(int32_t place, Scratch& scratch) const {
    constexpr int kAhead = 8;
    const int32_t* row = rows_.data() + place * degree_;
    const float* estimates = scratch.estimates.data();
    int count = 0;
    int32_t* fresh = scratch.fresh.data();
    for (int64_t i = 0; i < degree_ && row[i] >= 0; ++i) {
      if (!scratch.visited.test_and_set(row[i])) fresh[count++] = row[i];
    }
    distances(codes_, scratch.query, fresh, count, scratch.estimates.data(), kAhead);
    scratch.distance_count += static_cast<uint64_t>(count);
    for (int i = 0; i < count; ++i) accept(estimates[i], fresh[i], scratch);
  }

  void accept(float estimate, int32_t place, Scratch& scratch) const {
    if (!scratch.pool.insert(estimate, place)) return;
    if (scratch.nearest.insert(estimate, place)) scratch.idle = 0;
    fetch(place);
  }

  Placement placement_;
  int64_t degree_;
  HugeArray<int32_t> rows_;  // adjacency [n, degree_] by place
  Codes codes_;
  std::vector<int32_t> entries_;
};

}  // namespace crinn::ann::champion
