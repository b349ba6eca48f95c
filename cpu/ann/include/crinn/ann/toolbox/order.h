// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/module.h"

/// Orders of nodes in memory: what is expanded together should lie together. order[p] is the id at
/// place p; a Graph carries its order and a search module lays its records out by it.
namespace crinn::ann {

/// Breadth-first from the entry points; what cannot be reached follows by id.
inline std::vector<int32_t> bfs_order(const GraphView& graph) {
  const int64_t n = graph.neighbors.rows;
  std::vector<int32_t> order;
  order.reserve(static_cast<std::size_t>(n));
  std::vector<bool> seen(static_cast<std::size_t>(n), false);
  std::size_t next = 0;
  const auto add = [&](int32_t id) {
    if (seen[static_cast<std::size_t>(id)]) return;
    seen[static_cast<std::size_t>(id)] = true;
    order.push_back(id);
  };
  const auto spread = [&] {
    for (; next < order.size(); ++next) {
      for (const int32_t id : graph.neighbors.row_span(order[next])) {
        if (id < 0) break;
        add(id);
      }
    }
  };
  for (const int32_t entry : graph.entry_points) add(entry);
  spread();
  for (int64_t id = 0; id < n; ++id) {
    add(static_cast<int32_t>(id));
    spread();
  }
  return order;
}

/// Most often pointed to first, ties by id: the hubs share pages.
inline std::vector<int32_t> in_degree_order(const GraphView& graph) {
  const int64_t n = graph.neighbors.rows;
  std::vector<int32_t> degree(static_cast<std::size_t>(n), 0);
  std::vector<int32_t> order(static_cast<std::size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    order[static_cast<std::size_t>(i)] = static_cast<int32_t>(i);
    for (const int32_t id : graph.neighbors.row_span(i)) {
      if (id < 0) break;
      ++degree[static_cast<std::size_t>(id)];
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return degree[static_cast<std::size_t>(a)] > degree[static_cast<std::size_t>(b)];
  });
  return order;
}

/// Ids and places, both ways. Without an order (an empty one) ids are places.
class Placement {
 public:
  Placement() = default;
  Placement(std::span<const int32_t> order, int64_t n) {
    if (static_cast<int64_t>(order.size()) != n) return;
    order_.assign(order.begin(), order.end());
    place_.resize(order.size());
    for (std::size_t p = 0; p < order.size(); ++p) {
      place_[static_cast<std::size_t>(order[p])] = static_cast<int32_t>(p);
    }
  }
  bool identity() const { return order_.empty(); }
  int32_t id_at(int64_t place) const {
    return identity() ? static_cast<int32_t>(place) : order_[static_cast<std::size_t>(place)];
  }
  int32_t place_of(int32_t id) const {
    return identity() ? id : place_[static_cast<std::size_t>(id)];
  }

 private:
  std::vector<int32_t> order_, place_;
};

/// The graph in huge pages, rows by place and neighbours as places: [n, degree], -1 padded.
inline HugeArray<int32_t> place_rows(const GraphView& graph, const Placement& placement) {
  const int64_t n = graph.neighbors.rows, degree = graph.neighbors.cols;
  HugeArray<int32_t> rows(static_cast<std::size_t>(n * degree));
  for (int64_t place = 0; place < n; ++place) {
    const int32_t* from = graph.neighbors.row(placement.id_at(place));
    int32_t* to = rows.data() + place * degree;
    for (int64_t i = 0; i < degree; ++i) to[i] = from[i] < 0 ? -1 : placement.place_of(from[i]);
  }
  return rows;
}

/// The vectors by place [n, d]: what a code table is made from when nodes are reordered.
inline HugeArray<float> place_vectors(MatrixView<const float> base, const Placement& placement) {
  HugeArray<float> rows(static_cast<std::size_t>(base.rows * base.cols));
  for (int64_t place = 0; place < base.rows; ++place) {
    std::copy_n(base.row(placement.id_at(place)), base.cols, rows.data() + place * base.cols);
  }
  return rows;
}

}  // namespace crinn::ann
