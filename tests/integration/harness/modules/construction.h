// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "crinn/ann/module.h"

namespace crinn::ann::plain {

inline float distance(const float* a, const float* b, int64_t d, Metric metric) {
  float sum = 0;
  for (int64_t i = 0; i < d; ++i) {
    sum += metric == Metric::kInnerProduct ? -a[i] * b[i] : (a[i] - b[i]) * (a[i] - b[i]);
  }
  return sum;
}

/// Exact nearest neighbours in one half of each row, pseudo-random links in the other.
struct Construction {
  static Graph build(const BuildInput& in) {
    const int64_t n = in.base.rows;
    Graph graph(n, in.degree);
    uint64_t state = in.seed + 1;
    for (int64_t i = 0; i < n; ++i) {
      std::vector<std::pair<float, int32_t>> near;
      for (int64_t j = 0; j < n; ++j) {
        if (j == i) continue;
        near.emplace_back(distance(in.base.row(i), in.base.row(j), in.base.cols, in.metric),
                          static_cast<int32_t>(j));
      }
      const auto half = std::min<int64_t>(static_cast<int64_t>(near.size()), in.degree / 2);
      std::partial_sort(near.begin(), near.begin() + half, near.end());
      int32_t* row = graph.row(i);
      int count = 0;
      for (; count < half; ++count) row[count] = near[static_cast<std::size_t>(count)].second;
      for (int tries = 0; tries < in.degree && count < in.degree && n > 1; ++tries) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        const auto id = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(n));
        if (id == i || std::find(row, row + count, id) != row + count) continue;
        row[count++] = id;
      }
    }
    graph.entry_points = {0};
    return graph;
  }
};

}  // namespace crinn::ann::plain
