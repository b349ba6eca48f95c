// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {

/// Which candidates become neighbours of a node p. Candidate c is rejected when a kept s makes it
/// redundant:
///   RNG (alpha = 1): d(s, c) < d(p, c) (Toussaint 1980; HNSW's heuristic);
///   alpha: alpha * |s - c| < |p - c| (DiskANN); alpha > 1 keeps longer and more edges;
///   angle: the angle at p between s and c is below `min_angle` degrees (NSSG, about 60).
/// Distances are squared L2, or minus inner products (then alpha must be 1 and min_angle 0).
struct PruneRule {
  int degree = 32;
  float alpha = 1.0f;
  float min_angle = 0.0f;  ///< degrees; 0: the angle rule is off and the RNG/alpha rule holds
  bool fill = false;       ///< fill up to `degree` with the nearest rejected ones
};

/// Keeps at most rule.degree of `candidates` (nearest to p first, unique, without p), writes their
/// ids to row [rule.degree] padded with -1, and returns how many. between(a, b) is the distance of
/// two nodes.
template <class Distance>
int prune(std::span<const Candidate> candidates, const PruneRule& rule, Distance&& between,
          int32_t* row) {
  const float factor = rule.alpha * rule.alpha;  // distances are squared
  const float cosine = std::cos(rule.min_angle * 0.017453293f);
  const auto redundant = [&](const Candidate& c, const Candidate& s) {
    const float apart = between(s.id, c.id);
    if (rule.min_angle <= 0) return factor * apart < c.estimate;
    return s.estimate + c.estimate - apart >
           2 * cosine * std::sqrt(std::max(s.estimate * c.estimate, 0.0f));
  };
  int kept = 0;  // the row holds places in `candidates` until the end
  const auto count = static_cast<int32_t>(candidates.size());
  for (int32_t i = 0; i < count && kept < rule.degree; ++i) {
    bool good = true;
    for (int j = 0; j < kept && good; ++j) {
      good = !redundant(candidates[static_cast<std::size_t>(i)],
                        candidates[static_cast<std::size_t>(row[j])]);
    }
    if (good) row[kept++] = i;
  }
  if (rule.fill) {
    const int chosen = kept;
    for (int32_t i = 0, next = 0; i < count && kept < rule.degree; ++i) {
      if (next < chosen && row[next] == i) {
        ++next;
      } else {
        row[kept++] = i;
      }
    }
  }
  for (int j = 0; j < kept; ++j) row[j] = candidates[static_cast<std::size_t>(row[j])].id;
  std::fill(row + kept, row + rule.degree, -1);
  return kept;
}

/// source becomes a neighbour of target.
struct Edge {
  int32_t target;
  int32_t source;
  float distance;
};

/// Adds edges to their targets' rows; a row that overflows is pruned again by `rule` from its old
/// and new neighbours together. Rows change in parallel, each by one thread, in an order that does
/// not depend on `threads`. rule.degree <= graph.degree. Sorts `edges`.
template <class Distance>
void add_edges(Graph& graph, std::vector<Edge>& edges, const PruneRule& rule, Distance&& between,
               int threads) {
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) {
    if (a.target != b.target) return a.target < b.target;
    return a.distance < b.distance || (a.distance == b.distance && a.source < b.source);
  });
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    if (i == 0 || edges[i].target != edges[i - 1].target) starts.push_back(i);
  }
  const auto groups = static_cast<int64_t>(starts.size());
  starts.push_back(edges.size());
  parallel_for(threads, groups, 64, [&](int64_t begin, int64_t end) {
    std::vector<Candidate> candidates;
    for (int64_t group = begin; group < end; ++group) {
      const std::span fresh(edges.data() + starts[static_cast<std::size_t>(group)],
                            edges.data() + starts[static_cast<std::size_t>(group) + 1]);
      const int32_t target = fresh[0].target;
      int32_t* row = graph.row(target);
      int used = 0;
      while (used < rule.degree && row[used] >= 0) ++used;
      const int old = used;
      std::size_t next = 0;
      const auto present = [&](int32_t id) {
        return id == target || std::find(row, row + used, id) != row + used;
      };
      for (; next < fresh.size() && used < rule.degree; ++next) {
        if (!present(fresh[next].source)) row[used++] = fresh[next].source;
      }
      while (next < fresh.size() && present(fresh[next].source)) ++next;
      if (next == fresh.size()) continue;
      candidates.clear();
      for (int i = 0; i < old; ++i) candidates.push_back({between(target, row[i]), row[i]});
      for (const Edge& edge : fresh) {
        if (edge.source != target && std::find(row, row + old, edge.source) == row + old) {
          candidates.push_back({edge.distance, edge.source});
        }
      }
      std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return a.estimate < b.estimate || (a.estimate == b.estimate && a.id < b.id);
      });
      // The same edge twice in one call: equal neighbours in the sorted order.
      const auto last =
          std::unique(candidates.begin(), candidates.end(),
                      [](const Candidate& a, const Candidate& b) { return a.id == b.id; });
      candidates.erase(last, candidates.end());
      prune(candidates, rule, between, row);
    }
  });
}

}  // namespace crinn::ann
