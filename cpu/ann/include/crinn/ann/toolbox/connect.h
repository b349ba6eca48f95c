// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/module.h"

namespace crinn::ann {

/// Which nodes a search can reach at all: parent[id] is the node from which breadth-first search
/// over the graph found id, kRoot for an entry point, kUnreached otherwise.
struct Reachability {
  static constexpr int32_t kUnreached = -1, kRoot = -2;
  std::vector<int32_t> parent;
  int64_t reached = 0;

  explicit Reachability(const GraphView& graph)
      : parent(static_cast<std::size_t>(graph.neighbors.rows), kUnreached) {
    for (const int32_t entry : graph.entry_points) visit(graph.neighbors, entry, kRoot);
  }

  /// Visits all that can be reached from `id` and was not reached before.
  void visit(const MatrixView<const int32_t>& rows, int32_t id, int32_t from) {
    if (parent[static_cast<std::size_t>(id)] != kUnreached) return;
    queue_.assign(1, id);
    parent[static_cast<std::size_t>(id)] = from;
    for (std::size_t next = 0; next < queue_.size(); ++next) {
      for (const int32_t neighbor : rows.row_span(queue_[next])) {
        if (neighbor < 0) break;
        int32_t& origin = parent[static_cast<std::size_t>(neighbor)];
        if (origin != kUnreached) continue;
        origin = queue_[next];
        queue_.push_back(neighbor);
      }
    }
    reached += static_cast<int64_t>(queue_.size());
  }

 private:
  std::vector<int32_t> queue_;
};

/// Adds edges until every node can be reached from the entry points, and returns how many.
/// near(id, out) fills `out` with reached nodes near id, best first (a beam search from the entry
/// points); it may leave it empty. An edge goes into a free place of a near node's row, or replaces
/// its farthest neighbour that is reachable some other way, so nothing is cut off. Needs
/// graph.degree >= 1 and an entry point.
template <class Near>
int64_t repair_connectivity(Graph& graph, Near&& near) {
  Reachability reach{GraphView(graph)};
  const MatrixView<const int32_t> rows(graph.neighbors.data(), graph.n, graph.degree);
  // A place is usable when it is empty or does not carry the only known path to its neighbour.
  const auto attach = [&](int32_t host, int32_t id) {
    int32_t* row = graph.row(host);
    int place = graph.degree - 1;
    for (int i = 0; i < graph.degree; ++i) {
      if (row[i] < 0) {
        row[i] = id;
        return true;
      }
    }
    while (place >= 0 && reach.parent[static_cast<std::size_t>(row[place])] == host) --place;
    if (place >= 0) row[place] = id;
    return place >= 0;
  };
  int64_t added = 0;
  int32_t cursor = 0;  // where to look when none of the near ones has room
  std::vector<Candidate> hosts;
  for (int64_t i = 0; i < graph.n && reach.reached < graph.n; ++i) {
    const auto id = static_cast<int32_t>(i);
    if (reach.parent[static_cast<std::size_t>(i)] != Reachability::kUnreached) continue;
    hosts.clear();
    near(id, hosts);
    int32_t host = -1;
    for (const Candidate& candidate : hosts) {
      if (candidate.id != id && attach(candidate.id, id)) {
        host = candidate.id;
        break;
      }
    }
    // There are fewer paths than places in reached rows, so one of them always has room.
    for (; host < 0; cursor = static_cast<int32_t>((cursor + 1) % graph.n)) {
      const bool reached =
          reach.parent[static_cast<std::size_t>(cursor)] != Reachability::kUnreached;
      if (reached && attach(cursor, id)) host = cursor;
    }
    reach.visit(rows, id, host);
    ++added;
  }
  return added;
}

}  // namespace crinn::ann
