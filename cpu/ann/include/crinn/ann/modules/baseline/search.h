// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/held_out.h"
#include "crinn/ann/toolbox/order.h"
#include "crinn/ann/toolbox/pool.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/ann/toolbox/quantized_table.h"
#include "crinn/ann/toolbox/select.h"
#include "crinn/ann/toolbox/visited.h"

namespace crinn::ann::baseline {

/// The vectors as codes: 4 bits a dimension where they rank well enough, by base vectors held out
/// as queries, else 8. Half the bytes pay as long as few more candidates have to be looked at.
class Codes {
 public:
  struct Query {
    QuantizedQuery four, eight;
  };

  Codes(MatrixView<const float> base, Metric metric, const CodeParams& params) {
    four_ = std::make_unique<Sq4Table>(base, metric, params);
    if (needed_depth(*four_, base, metric, {.threads = params.threads}) <= kDepth) return;
    four_.reset();
    eight_ = std::make_unique<Sq8Table>(base, metric, params);
  }
  Query make_query() const {
    return {four_ ? four_->make_query() : QuantizedQuery{},
            eight_ ? eight_->make_query() : QuantizedQuery{}};
  }
  void prepare(const float* q, Query& query) const {
    four_ ? four_->prepare(q, query.four) : eight_->prepare(q, query.eight);
  }
  void score(const Query& query, const int32_t* places, int count, float* estimates) const {
    constexpr int kAhead = 8;  // records on their way
    if (four_) {
      distances(*four_, query.four, places, count, estimates, kAhead);
    } else {
      distances(*eight_, query.eight, places, count, estimates, kAhead);
    }
  }
  int bits() const { return four_ ? 4 : 8; }
  int64_t size() const { return four_ ? four_->size() : eight_->size(); }

 private:
  /// Candidates that 4 bits may need for .95 of 10 neighbours. Sets where they are the faster ones
  /// (MNIST, GIST, SIFT, tf-idf) need 11 to 15, GloVe in 25 dimensions, where they lose, 17 to 19.
  static constexpr int64_t kDepth = 15;

  std::unique_ptr<Sq4Table> four_;
  std::unique_ptr<Sq8Table> eight_;
};

/// Best-first search over the graph with codes in a separate table. It starts at the nearest entry
/// point, keeps a sorted pool of `ef`, and fetches the codes of a node's neighbours and the
/// adjacency of what enters the pool before they are needed.
class Search {
 public:
  static constexpr bool kExactEstimates = false;

  struct Scratch {
    Codes::Query query;
    VisitedBitmap visited;
    LinearPool pool;
    std::vector<int32_t> fresh;    ///< neighbours of one node not seen before
    std::vector<float> estimates;  ///< theirs
    uint64_t distance_count = 0;
  };

  explicit Search(const SearchInput& input)
      : placement_(input.graph.order, input.base.rows),
        degree_(input.graph.neighbors.cols),
        rows_(place_rows(input.graph, placement_)),
        codes_(make_codes(input, placement_)) {
    for (const int32_t id : input.graph.entry_points) {
      entries_.push_back(placement_.place_of(id));
    }
  }

  Scratch make_scratch() const {
    Scratch scratch{codes_.make_query(), VisitedBitmap(codes_.size()), {}, {}, {}, 0};
    scratch.fresh.resize(static_cast<std::size_t>(degree_));
    // Estimates are looked at 16 at a time.
    scratch.estimates.resize(std::max(entries_.size(), scratch.fresh.size() + 15));
    return scratch;
  }

  void search(const float* query, int /*k*/, int ef, Scratch& scratch,
              std::vector<Candidate>& out) const {
    codes_.prepare(query, scratch.query);
    scratch.pool.reset(ef);
    scratch.visited.reset();
    enter(scratch);
    while (scratch.pool.has_next()) {
      const int count = unseen_neighbors(scratch.pool.pop_next().id, scratch);
      if (scratch.pool.has_next()) fetch_row(scratch.pool.peek_next().id);
      score(scratch, scratch.fresh.data(), count);
      for (int first = 0; first < count; first += 16) {
        const float* estimates = scratch.estimates.data() + first;
        const int32_t* fresh = scratch.fresh.data() + first;
        uint32_t near = below16(estimates, scratch.pool.threshold(), count - first);
        for (; near != 0; near &= near - 1) {
          const int i = std::countr_zero(near);
          const int32_t place = fresh[i];
          if (scratch.pool.insert(estimates[i], place)) fetch_row(place);
        }
      }
    }
    scratch.pool.drain(out);
    if (placement_.identity()) return;
    for (Candidate& candidate : out) candidate.id = placement_.id_at(candidate.id);
  }

 private:
  static Codes make_codes(const SearchInput& input, const Placement& placement) {
    CodeParams params;
    params.seed = input.seed;
    params.threads = input.threads;
    if (placement.identity()) return Codes(input.base, input.metric, params);
    const HugeArray<float> placed = place_vectors(input.base, placement);
    return Codes({placed.data(), input.base.rows, input.base.cols}, input.metric, params);
  }

  /// The nearest entry point goes into the pool.
  void enter(Scratch& scratch) const {
    const auto count = static_cast<int>(entries_.size());
    score(scratch, entries_.data(), count);
    const auto first = scratch.estimates.begin();
    const auto nearest = std::min_element(first, first + count);
    const int32_t place = entries_[static_cast<std::size_t>(nearest - first)];
    scratch.visited.test_and_set(place);
    scratch.pool.insert(*nearest, place);
  }

  int unseen_neighbors(int32_t place, Scratch& scratch) const {
    const int32_t* row = rows_.data() + place * degree_;
    return add_new(scratch.visited, row, degree_, scratch.fresh.data());
  }

  void score(Scratch& scratch, const int32_t* places, int count) const {
    codes_.score(scratch.query, places, count, scratch.estimates.data());
    scratch.distance_count += static_cast<uint64_t>(count);
  }

  void fetch_row(int32_t place) const {
    prefetch_record(rows_.data() + place * degree_, degree_ * 4);
  }

  Placement placement_;
  int64_t degree_;
  HugeArray<int32_t> rows_;  ///< adjacency [n, degree_] by place
  Codes codes_;              ///< by place
  std::vector<int32_t> entries_;
};

}  // namespace crinn::ann::baseline
