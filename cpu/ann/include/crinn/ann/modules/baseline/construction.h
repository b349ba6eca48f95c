// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/beam.h"
#include "crinn/ann/toolbox/connect.h"
#include "crinn/ann/toolbox/pairwise.h"
#include "crinn/ann/toolbox/parallel.h"
#include "crinn/ann/toolbox/prune.h"

namespace crinn::ann::baseline {

/// Hierarchical navigable small worlds (Malkov, Yashunin 2018) over 7-bit codes. Nodes are inserted
/// highest level first, so that every layer is a prefix of one order and the layers above are
/// complete before a layer begins. A layer grows by batches: each node of a batch searches the
/// graph as it was before the batch, then all edges are applied in a fixed order. The graph is the
/// same for a seed at any number of threads.
struct Construction {
  static Graph build(const BuildInput& input) { return Construction(input).run(); }

 private:
  // A batch is at most this share of what its searches can see, and never larger than kMaxBatch:
  // nodes of one batch do not find each other.
  static constexpr int64_t kBatchShare = 20, kMaxBatch = 2000;
  static constexpr int64_t kEntryPoints = 64;
  static constexpr int kMaxLevel = 12, kRepairBeam = 32;

  explicit Construction(const BuildInput& input)
      : n_(input.base.rows),
        beam_(std::max(input.ef_construction, 1)),
        threads_(input.threads),
        progress_(input.progress),
        layers_(plan_layers(input)),
        codes_(input.base, input.metric, order_, input.threads) {
    for (int i = 0; i < std::max(threads_, 1); ++i) scratch_.emplace_back(n_);
  }

  /// Draws levels, sorts nodes by level and makes an empty graph for each layer, base layer first.
  std::vector<Graph> plan_layers(const BuildInput& input) {
    const int upper_degree = std::max(input.degree / 2, 1);
    const double scale = 1.0 / std::log(std::max(upper_degree, 2));
    std::vector<uint64_t> key(static_cast<std::size_t>(n_));
    int64_t members[kMaxLevel + 1] = {};
    for (int64_t id = 0; id < n_; ++id) {
      const uint64_t draw = mix_seed(input.seed, static_cast<uint64_t>(id));
      const double uniform = (static_cast<double>(draw >> 11) + 0.5) * 0x1.0p-53;
      const int level = std::min(static_cast<int>(-std::log(uniform) * scale), kMaxLevel);
      for (int l = 0; l <= level; ++l) ++members[l];
      key[static_cast<std::size_t>(id)] =
          static_cast<uint64_t>(kMaxLevel - level) << 60 | draw >> 4;
    }
    order_.resize(static_cast<std::size_t>(n_));
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
      const uint64_t x = key[static_cast<std::size_t>(a)], y = key[static_cast<std::size_t>(b)];
      return x < y || (x == y && a < b);
    });
    std::vector<Graph> layers;
    for (int level = 0; level <= kMaxLevel && members[level] > 0; ++level) {
      layers.emplace_back(members[level], level == 0 ? input.degree : upper_degree);
    }
    return layers;
  }

  Graph run() {
    for (auto layer = static_cast<int>(layers_.size()) - 1; layer >= 0; --layer) fill_layer(layer);
    Graph& base = layers_[0];
    const int64_t upper = layers_.size() > 1 ? layers_[1].n : 1;
    for (int64_t p = 0; p < std::min(upper, kEntryPoints); ++p) {
      base.entry_points.push_back(static_cast<int32_t>(p));
    }
    repair_connectivity(base, [&](int32_t place, std::vector<Candidate>& near) {
      search(base, std::span<const int32_t>(base.entry_points), place, kRepairBeam, scratch_[0]);
      near = scratch_[0].found;
    });
    return with_ids(base);
  }

  void fill_layer(int layer) {
    Graph& graph = layers_[static_cast<std::size_t>(layer)];
    const PruneRule own{.degree = layers_.size() > 1 ? layers_[1].degree : graph.degree};
    const PruneRule reverse{.degree = graph.degree};
    std::vector<Edge> edges;
    for (int64_t inserted = 1; inserted < graph.n;) {
      const int64_t batch =
          std::min(std::clamp<int64_t>(inserted / kBatchShare, 1, kMaxBatch), graph.n - inserted);
      parallel_for_indexed(threads_, batch, 8, [&](int thread, int64_t begin, int64_t end) {
        BeamScratch& scratch = scratch_[static_cast<std::size_t>(thread)];
        for (int64_t i = begin; i < end; ++i) {
          const auto place = static_cast<int32_t>(inserted + i);
          const int32_t entry = descend(layer, place, inserted);
          search(graph, {&entry, 1}, place, beam_, scratch);
          prune(scratch.found, own, codes_, graph.row(place));
        }
      });
      edges.clear();
      for (int64_t place = inserted; place < inserted + batch; ++place) {
        for (int j = 0; j < own.degree && graph.row(place)[j] >= 0; ++j) {
          const int32_t target = graph.row(place)[j];
          const auto source = static_cast<int32_t>(place);
          edges.push_back({target, source, codes_(target, source)});
        }
      }
      add_edges(graph, edges, reverse, codes_, threads_);
      inserted += batch;
      report(progress_, inserted, graph.n);
    }
  }

  /// Where the search for `place` enters a layer of which `inserted` nodes are there: the greedy
  /// way down through those upper layers whose nodes are all among them.
  int32_t descend(int layer, int32_t place, int64_t inserted) const {
    Candidate nearest{codes_(place, 0), 0};
    for (auto upper = static_cast<int>(layers_.size()) - 1; upper > layer; --upper) {
      const Graph& graph = layers_[static_cast<std::size_t>(upper)];
      if (graph.n > inserted) break;
      nearest = greedy_descent(
          nearest, [&](int32_t id) { return neighbors(graph, id); },
          [&](int32_t id) { return codes_(place, id); });
    }
    return nearest.id;
  }

  void search(const Graph& graph, std::span<const int32_t> entries, int32_t place, int beam,
              BeamScratch& scratch) const {
    beam_search(
        entries, beam, [&](int32_t id) { return neighbors(graph, id); },
        [&](int32_t id) { return codes_(place, id); }, [&](int32_t id) { codes_.prefetch(id); },
        scratch);
  }

  static std::span<const int32_t> neighbors(const Graph& graph, int32_t id) {
    return {graph.row(id), static_cast<std::size_t>(graph.degree)};
  }

  /// From places in the order of insertion back to ids.
  Graph with_ids(const Graph& places) const {
    Graph graph(n_, places.degree);
    const auto id_at = [&](int32_t place) { return order_[static_cast<std::size_t>(place)]; };
    for (int64_t p = 0; p < n_; ++p) {
      int32_t* row = graph.row(id_at(static_cast<int32_t>(p)));
      for (int j = 0; j < graph.degree && places.row(p)[j] >= 0; ++j) {
        row[j] = id_at(places.row(p)[j]);
      }
    }
    for (const int32_t place : places.entry_points) graph.entry_points.push_back(id_at(place));
    return graph;
  }

  int64_t n_;
  int beam_, threads_;
  const BuildProgress* progress_;
  std::vector<int32_t> order_;  ///< order_[place] is an id; places are in order of insertion
  std::vector<Graph> layers_;
  PairwiseCodes codes_;
  std::vector<BeamScratch> scratch_;
};

}  // namespace crinn::ann::baseline
