// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/normalize.h"
#include "crinn/base/matrix_view.h"
#include "crinn/base/rng.h"

namespace crinn::ann::test {

/// Generated vectors [n, d]: clusters with a few duplicates among them, and zero rows but under
/// kCosine: a zero row is at distance 2 from all others by definition, and at 1 for who treats
/// unit vectors as kL2.
struct Rows {
  int64_t n, d;
  std::vector<float> values;
  MatrixView<const float> view() const { return {values.data(), n, d}; }
};

inline Rows make_rows(int64_t n, int64_t d, Metric metric, uint64_t seed) {
  Rng rng(seed);
  Rows rows{n, d, std::vector<float>(static_cast<std::size_t>(n * d))};
  std::vector<double> centres(static_cast<std::size_t>(8 * d));
  Rng shared(17);  // base and queries come from the same clusters
  for (double& value : centres) value = 2 * shared.normal();
  for (int64_t i = 0; i < n; ++i) {
    float* row = rows.values.data() + i * d;
    const double* centre = centres.data() + static_cast<int64_t>(rng.below(8)) * d;
    for (int64_t j = 0; j < d; ++j) row[j] = static_cast<float>(centre[j] + rng.normal());
    if (i % 97 == 5) std::copy_n(rows.values.data(), d, row);
    if (i % 211 == 7 && metric != Metric::kCosine) std::fill_n(row, d, 0.0f);
    if (metric == Metric::kCosine) normalize(row, row, d);
  }
  return rows;
}

/// Recall@k of `ids` by exact distance with ties.
inline double recall(const Rows& base, const float* query, Metric metric, const int32_t* ids,
                     int k) {
  std::vector<double> all;
  for (int64_t i = 0; i < base.n; ++i) {
    all.push_back(exact_distance(query, base.view().row(i), base.d, metric));
  }
  std::vector<double> sorted = all;
  const auto count = std::min<int64_t>(k, base.n);
  std::sort(sorted.begin(), sorted.end());
  const double limit = sorted[static_cast<std::size_t>(count - 1)];
  const double slack = 1e-5 * std::abs(limit) + 1e-9;
  int found = 0;
  for (int64_t i = 0; i < count; ++i) {
    found += ids[i] >= 0 && all[static_cast<std::size_t>(ids[i])] <= limit + slack;
  }
  return static_cast<double>(found) / static_cast<double>(count);
}

}  // namespace crinn::ann::test
