// SPDX-License-Identifier: Apache-2.0
// Found by crinn-train: run hour11, seed 2, archive id 167.
// confirmed: 2.069x [1.980, 2.163] the baseline's area on held-out queries of mnist-784-euclidean
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/beam.h"
#include "crinn/ann/toolbox/connect.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/entries.h"
#include "crinn/ann/toolbox/order.h"
#include "crinn/ann/toolbox/pairwise.h"
#include "crinn/ann/toolbox/parallel.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/ann/toolbox/prune.h"

// A derivation of the construction grammar:
//   source=insert width=100 sequence=shuffled share=20 batch=2000 rule=rng fill=yes space=codes
//   prune=coarse degree=full forward=50 slack=none entries=random entry_count=64 cap=all
//   back=filled repair=32 final=bfs
// In words:
// - A node takes 50 % of the degree for its own choices; others may link back to fill the rest.
// - Nodes are inserted in batches by beam search.
// - Beams are 100 % of ef_construction wide. A batch is at most 1 / 20 of the graph and 2000 nodes;
//   its nodes do not see each other.
// - Nodes come in random order.
// - Pruning by relative neighbourhood, then filled with the nearest rejected ones.
// - Building searches 7-bit codes.
// - Searches enter at 64 random nodes.
// - Rows that overflow are filled up again.
// - Records are laid out breadth-first.
namespace crinn::ann::champion {

class Builder {
 public:
  explicit Builder(const BuildInput& input)
      : input_(input),
        base_(input.base),
        n_(input.base.rows),
        codes_(base_, input.metric, all_ids(n_), input.threads),
        graph_(n_, degree(input)),
        entries_(random_entries(n_, 64, mix_seed(input.seed, 3))) {
    graph_.entry_points = entries_;
    for (int t = 0; t < std::max(input.threads, 1); ++t) scratch_.emplace_back(n_);
  }

  Graph build() {
    pass(0, make_rule(1.0f, 0.0f, true));
    repair_connectivity(graph_, [&](int32_t id, std::vector<Candidate>& near) {
      find(id, 32, scratch_[0]);
      near = scratch_[0].found;
    });
    graph_.order = bfs_order(graph_);
    return std::move(graph_);
  }

 private:
  static int degree(const BuildInput& input) { return input.degree; }

  float exact(int32_t a, int32_t b) const {
    return distance(input_.metric, base_.row(a), base_.row(b), base_.cols);
  }
  static std::vector<int32_t> all_ids(int64_t n) {
    std::vector<int32_t> ids(static_cast<std::size_t>(n));
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }
  float score(int32_t a, int32_t b) const { return codes_(a, b); }
  float between(int32_t a, int32_t b) const { return score(a, b); }
  void prefetch(int32_t id) const { codes_.prefetch(id); }

  /// Inner products obey no triangle inequality: only the plain rule makes sense for them.
  PruneRule make_rule(float alpha, float min_angle, bool fill) const {
    if (input_.metric == Metric::kInnerProduct) return {graph_.degree, 1, 0, fill};
    return {graph_.degree, alpha, min_angle, fill};
  }

  /// What a search for the node meets, nearest first.
  void find(int32_t id, int beam, BeamScratch& scratch) const {
    const auto row = [this](int32_t at) {
      return std::span(graph_.row(at), static_cast<std::size_t>(graph_.degree));
    };
    beam_search(
        entries_, beam, row, [this, id](int32_t other) { return score(id, other); },
        [this](int32_t other) { prefetch(other); }, scratch);
  }

  /// Writes the best of what was found and of the node's neighbours so far to `row`.
  void choose(int32_t id, std::vector<Candidate>& found, const PruneRule& rule,
              int32_t* row) const {
    std::erase_if(found, [&](const Candidate& c) { return c.id == id; });
    const auto pair = [this](int32_t a, int32_t b) { return between(a, b); };
    const std::size_t fresh = found.size();
    for (int j = 0; j < graph_.degree && graph_.row(id)[j] >= 0; ++j) {
      const int32_t old = graph_.row(id)[j];
      const auto same = [&](const Candidate& c) { return c.id == old; };
      const auto end = found.begin() + static_cast<std::ptrdiff_t>(fresh);
      if (std::none_of(found.begin(), end, same)) {
        found.push_back({between(id, old), old});
      }
    }
    std::sort(found.begin(), found.end(), nearer);
    PruneRule own = rule;
    own.degree = std::max(rule.degree * 50 / 100, 1);
    prune(found, own, pair, row);
    std::fill(row + own.degree, row + graph_.degree, -1);
  }

  void link_back(std::span<const int32_t> ids, const PruneRule& rule) {
    const auto pair = [this](int32_t a, int32_t b) { return between(a, b); };
    std::vector<Edge> edges;
    for (const int32_t id : ids) {
      for (int j = 0; j < graph_.degree && graph_.row(id)[j] >= 0; ++j) {
        const int32_t target = graph_.row(id)[j];
        edges.push_back({target, id, between(target, id)});
      }
    }
    PruneRule filled = rule;
    filled.fill = true;
    add_edges(graph_, edges, filled, pair, input_.threads);
  }

  /// A batch searches the graph as it was and then gets its edges: the same graph at any number
  /// of threads.
  void pass(int64_t known, const PruneRule& rule) {
    const std::vector<int32_t> sequence = order_of_insertion();
    const int beam = std::max(graph_.degree, input_.ef_construction * 100 / 100) + 1;
    for (int64_t begin = 0; begin < n_;) {
      const int64_t present = std::max(begin, known);
      const int64_t share = std::clamp<int64_t>(present / 20, 1, 2000);
      const std::span ids(sequence.data() + begin,
                          static_cast<std::size_t>(std::min(share, n_ - begin)));
      begin += static_cast<int64_t>(ids.size());
      std::vector<int32_t> rows(ids.size() * static_cast<std::size_t>(graph_.degree));
      parallel_for_indexed(input_.threads, static_cast<int64_t>(ids.size()), 8,
                           [&](int thread, int64_t first, int64_t last) {
                             BeamScratch& scratch = scratch_[static_cast<std::size_t>(thread)];
                             for (int64_t i = first; i < last; ++i) {
                               const int32_t id = ids[static_cast<std::size_t>(i)];
                               find(id, beam, scratch);
                               choose(id, scratch.found, rule, rows.data() + i * graph_.degree);
                             }
                           });
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const int32_t* row = rows.data() + i * static_cast<std::size_t>(graph_.degree);
        std::copy_n(row, graph_.degree, graph_.row(ids[i]));
      }
      link_back(ids, rule);
      report(input_.progress, begin, n_);
    }
  }

  std::vector<int32_t> order_of_insertion() const {
    return random_entries(n_, static_cast<int>(n_), mix_seed(input_.seed, 2));
  }

  BuildInput input_;
  MatrixView<const float> base_;
  int64_t n_;
  PairwiseCodes codes_;
  Graph graph_;
  std::vector<int32_t> entries_;
  std::vector<BeamScratch> scratch_;
};

struct Construction {
  static Graph build(const BuildInput& input) { return Builder(input).build(); }
};

}  // namespace crinn::ann::champion
