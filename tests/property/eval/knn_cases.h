// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/base/matrix_view.h"
#include "crinn/base/rng.h"

/// Inputs on which exact k-NN implementations are known to fail, and the naive answer.
namespace crinn::knn_cases {

struct Case {
  std::string name;
  int64_t n, nq, d;
  int k;
  std::vector<float> base, queries;

  MatrixView<const float> base_view() const { return {base.data(), n, d}; }
  MatrixView<const float> query_view() const { return {queries.data(), nq, d}; }
};

/// value(rng, row, column) for base rows, then for queries (row continues from n).
inline Case make(std::string name, int64_t n, int64_t nq, int64_t d, int k,
                 const std::function<double(Rng&, int64_t, int64_t)>& value) {
  Case result{std::move(name), n, nq, d, k, {}, {}};
  Rng rng(mix_seed(static_cast<uint64_t>(n * 131 + d), static_cast<uint64_t>(k)));
  for (int64_t i = 0; i < n + nq; ++i) {
    for (int64_t j = 0; j < d; ++j) {
      (i < n ? result.base : result.queries).push_back(static_cast<float>(value(rng, i, j)));
    }
  }
  return result;
}

inline std::vector<Case> all_cases() {
  std::vector<Case> cases;
  const auto normal = [](Rng& rng, int64_t, int64_t) { return rng.normal(); };
  // Shapes around every blocking: panels of 32 rows, tiles of 12 queries, 256 dimensions.
  for (const int64_t d : {1, 3, 7, 16, 17, 255, 256, 257, 600}) {
    cases.push_back(make("gaussian d=" + std::to_string(d), 333, 13, d, 10, normal));
  }
  for (const int64_t n : {1, 2, 31, 32, 33, 64, 65}) {
    cases.push_back(make("n=" + std::to_string(n) + " k=n", n, 5, 20, static_cast<int>(n), normal));
  }
  cases.push_back(make("k above n", 7, 3, 12, 20, normal));
  cases.push_back(make("one query", 500, 1, 24, 1, normal));
  cases.push_back(make("k=300", 2000, 6, 12, 300, normal));
  cases.push_back(make("translated by 1e6", 700, 9, 33, 10,
                       [](Rng& rng, int64_t, int64_t) { return 1e6 + rng.normal(); }));
  cases.push_back(
      make("translated by -1e6, far queries", 700, 9, 33, 10,
           [](Rng& rng, int64_t i, int64_t) { return (i < 700 ? -1e6 : 1e6) + rng.normal(); }));
  cases.push_back(make("zero padded", 400, 9, 100, 10,
                       [](Rng& rng, int64_t, int64_t j) { return j < 5 ? rng.normal() : 0.0; }));
  cases.push_back(make("all rows equal", 3000, 5, 8, 10, [](Rng&, int64_t i, int64_t j) {
    return i < 3000 ? 1.0 + static_cast<double>(j) : 0.5;
  }));
  cases.push_back(make("all zero", 100, 3, 8, 10, [](Rng&, int64_t, int64_t) { return 0.0; }));
  cases.push_back(make("few distinct values", 2500, 7, 3, 40, [](Rng& rng, int64_t, int64_t) {
    return static_cast<double>(rng.below(3));
  }));
  cases.push_back(make("one dimension of integers", 2500, 7, 1, 15, [](Rng& rng, int64_t, int64_t) {
    return static_cast<double>(rng.below(50));
  }));
  // Every row is nearer than all before it: a threshold never excludes anything.
  cases.push_back(make("nearest last", 6000, 5, 2, 10, [](Rng&, int64_t i, int64_t) {
    return i < 6000 ? static_cast<double>(7000 - i) : static_cast<double>(i - 6000);
  }));
  cases.push_back(make("thousands of ties", 9000, 4, 2, 30, [](Rng& rng, int64_t, int64_t) {
    return static_cast<double>(rng.below(2));
  }));
  cases.push_back(make("bytes", 900, 9, 128, 10, [](Rng& rng, int64_t, int64_t) {
    return static_cast<double>(rng.below(256));
  }));
  // Neighbours that differ in the last bits of fp32 only.
  cases.push_back(
      make("near-duplicates of equal norm", 800, 9, 48, 10, [](Rng& rng, int64_t, int64_t j) {
        return (j % 2 == 0 ? 1.0 : -1.0) * (1 + 1e-7 * rng.normal());
      }));
  for (const double magnitude : {1e18, 1e38, 1e-30, 1e-38, 1e-42, 1e-45}) {
    cases.push_back(
        make("magnitude " + std::to_string(std::log10(magnitude)), 400, 7, 19, 10,
             [=](Rng& rng, int64_t, int64_t) { return magnitude * (2 * rng.uniform() - 1) * 3; }));
  }
  cases.push_back(
      make("magnitudes from 1e-40 to 1e38", 600, 9, 10, 10, [](Rng& rng, int64_t i, int64_t) {
        return std::pow(10.0, static_cast<double>(i % 79) - 40) * rng.normal();
      }));
  cases.push_back(make("one outlier", 600, 9, 10, 10, [](Rng& rng, int64_t i, int64_t) {
    return (i == 77 ? 1e30 : 1.0) * rng.normal();
  }));
  // Scaled by 1 and centred at .001, the last row is a hair below what fp16 rounds to infinity, and
  // fp32 on the way there rounds it up.
  for (const int k : {1, 10}) {
    cases.push_back(make("beside fp16's infinity, k=" + std::to_string(k), 1001, 1, 1, k,
                         [](Rng&, int64_t i, int64_t) {
                           if (i == 1001) return 100.0;
                           if (i == 1000) return 65520.0;
                           return i < 500 ? -192.0 : i < 999 ? 192.0 : 193.0;
                         }));
  }
  // fp64 itself cannot tell the rows apart under the inner product: ties by id.
  cases.push_back(
      make("one constant column of 1e20", 300, 8, 10, 10,
           [](Rng& rng, int64_t i, int64_t j) { return i < 300 && j == 3 ? 1e20 : rng.normal(); }));
  cases.push_back(make("zero rows among others", 300, 8, 10, 25, [](Rng& rng, int64_t i, int64_t) {
    return i % 3 == 0 ? 0.0 : rng.normal();
  }));
  cases.push_back(make("one direction", 300, 8, 10, 10, [](Rng& rng, int64_t, int64_t j) {
    return static_cast<double>(j + 1) * 3 + 1e-6 * rng.normal();
  }));
  return cases;
}

struct Answer {
  std::vector<int64_t> ids;
  std::vector<double> distances;
};

/// The definition: every distance in fp64, sorted by (distance, id).
inline Answer naive(const Case& input, ann::Metric metric) {
  Answer answer;
  std::vector<std::pair<double, int64_t>> row(static_cast<std::size_t>(input.n));
  for (int64_t q = 0; q < input.nq; ++q) {
    for (int64_t i = 0; i < input.n; ++i) {
      row[static_cast<std::size_t>(i)] = {
          ann::exact_distance(input.query_view().row(q), input.base_view().row(i), input.d, metric),
          i};
    }
    std::sort(row.begin(), row.end());
    for (int64_t j = 0; j < input.k; ++j) {
      const bool there = j < input.n;
      answer.ids.push_back(there ? row[static_cast<std::size_t>(j)].second : -1);
      answer.distances.push_back(there ? row[static_cast<std::size_t>(j)].first
                                       : std::numeric_limits<double>::infinity());
    }
  }
  return answer;
}

}  // namespace crinn::knn_cases
