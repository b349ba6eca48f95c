// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/ann/toolbox/codes.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/parallel.h"

/// What a module can find out while it is prepared, from base vectors held out as queries.
namespace crinn::ann {

struct HeldOut {
  int k = 10;
  int64_t queries = 32;    ///< rows held out, evenly spaced
  int64_t rows = 100'000;  ///< rows that they are compared with, evenly spaced
  double recall = 0.95;
  int threads = 1;
};

/// How many rows, nearest first by the table's estimates, have to be looked at again for `recall`
/// of the k exactly nearest to be among them. The table holds base [n, d]. Counted for each of the
/// k: k and the rows that are farther than all of them but that the table puts before or beside it.
/// A held-out row does not count for itself. 0 where n < 2.
template <CodeTable Table>
int64_t needed_depth(const Table& table, MatrixView<const float> base, Metric metric,
                     const HeldOut& options) {
  const int64_t n = base.rows;
  if (n < 2) return 0;
  const int64_t queries = std::min(options.queries, n);
  const int64_t rows = std::min(options.rows, n);
  const int64_t k = std::min<int64_t>(options.k, rows - 1);
  std::vector<int64_t> depths(static_cast<std::size_t>(queries * k));
  parallel_for(options.threads, queries, 1, [&](int64_t begin, int64_t end) {
    auto prepared = table.make_query();
    std::vector<float> estimates, exact, sorted;
    std::vector<float> near, far;  // estimates of the nearest and of the others
    for (int64_t q = begin; q < end; ++q) {
      const int64_t own = q * n / queries;
      table.prepare(base.row(own), prepared);
      estimates.clear();
      exact.clear();
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t id = i * n / rows;
        if (id == own) continue;
        estimates.push_back(table.distance(prepared, id));
        const float value = distance(metric, base.row(own), base.row(id), base.cols);
        exact.push_back(std::isnan(value) ? HUGE_VALF : value);  // beyond fp32's range
      }
      sorted = exact;
      const auto kth = sorted.begin() + static_cast<std::ptrdiff_t>(k) - 1;
      std::nth_element(sorted.begin(), kth, sorted.end());
      near.clear();
      far.clear();
      for (std::size_t i = 0; i < exact.size(); ++i) {
        (exact[i] <= *kth ? near : far).push_back(estimates[i]);
      }
      std::sort(far.begin(), far.end());
      for (int64_t j = 0; j < k; ++j) {
        const float estimate = near[static_cast<std::size_t>(j)];
        depths[static_cast<std::size_t>(q * k + j)] =
            k + (std::upper_bound(far.begin(), far.end(), estimate) - far.begin());
      }
    }
  });
  const auto at =
      static_cast<std::ptrdiff_t>(options.recall * static_cast<double>(queries * k - 1));
  std::nth_element(depths.begin(), depths.begin() + at, depths.end());
  return depths[static_cast<std::size_t>(at)];
}

}  // namespace crinn::ann
