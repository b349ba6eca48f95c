// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/base/files.h"
#include "crinn/base/rng.h"
#include "crinn/harness/judge.h"

namespace crinn::harness::testing {

inline Triple plain_triple() {
  const std::filesystem::path folder = CRINN_TEST_MODULES;
  Triple triple;
  for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
    triple.at(role) = {role, "plain", read_file(folder / (std::string(to_string(role)) + ".h"))};
  }
  return triple;
}

/// Gaussian clusters with their exact k-th distances.
struct TinyData {
  std::vector<float> base, queries;
  std::vector<double> kth;
  int64_t n, nq, d;
  ann::Metric metric;
  int k;

  explicit TinyData(int64_t n = 1500, int64_t nq = 200, int64_t d = 24,
                    ann::Metric metric = ann::Metric::kL2, int k = 10)
      : n(n), nq(nq), d(d), metric(metric), k(k) {
    Rng rng(7);
    std::vector<float> centres(static_cast<std::size_t>(20 * d));
    for (float& value : centres) value = static_cast<float>(2 * rng.normal());
    const auto fill = [&](std::vector<float>& values, int64_t rows) {
      for (int64_t i = 0; i < rows; ++i) {
        const float* centre = centres.data() + static_cast<int64_t>(rng.below(20)) * d;
        for (int64_t j = 0; j < d; ++j) {
          values.push_back(centre[j] + static_cast<float>(rng.normal()));
        }
      }
    };
    fill(base, n);
    fill(queries, nq);
    for (int64_t q = 0; q < nq; ++q) {
      std::vector<double> distances;
      for (int64_t i = 0; i < n; ++i) {
        distances.push_back(
            ann::exact_distance(queries.data() + q * d, base.data() + i * d, d, metric));
      }
      std::nth_element(distances.begin(), distances.begin() + k - 1, distances.end());
      kth.push_back(distances[static_cast<std::size_t>(k - 1)]);
    }
  }

  Workload workload() const {
    Workload load;
    load.name = "tiny";
    load.metric = metric;
    load.base = {base.data(), n, d};
    load.queries = {queries.data(), nq, d};
    load.kth_distance = kth;
    load.k = k;
    return load;
  }
};

/// Short races: what is tested is the verdict, not its precision.
inline JudgeOptions quick_options(const std::filesystem::path& folder) {
  JudgeOptions options;
  options.work_folder = folder;
  options.degree = 16;
  options.ef_construction = 40;
  options.race_seconds = 0.3;
  options.min_points = 4;
  return options;
}

}  // namespace crinn::harness::testing
