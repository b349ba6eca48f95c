// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/parallel.h"

/// Where a search starts. All are the same for a seed at any number of threads.
namespace crinn::ann {

/// min(count, n) different nodes in random order, uniform for the seed (Floyd's sampling).
inline std::vector<int32_t> random_entries(int64_t n, int count, uint64_t seed) {
  std::vector<int32_t> entries;
  Rng rng(mix_seed(seed, 0x656E7472));
  std::vector<bool> taken(static_cast<std::size_t>(n), false);
  for (int64_t j = std::max<int64_t>(n - count, 0); j < n; ++j) {
    auto drawn = static_cast<std::size_t>(rng.below(static_cast<uint64_t>(j) + 1));
    if (taken[drawn]) drawn = static_cast<std::size_t>(j);
    taken[drawn] = true;
    entries.push_back(static_cast<int32_t>(drawn));
  }
  rng.shuffle(entries);
  return entries;
}

namespace detail {

/// For each centre [m, d] the nearest row by squared L2; a row serves one centre only.
inline std::vector<int32_t> nearest_rows(MatrixView<const float> base,
                                         const std::vector<float>& centres, int threads) {
  const int64_t m = static_cast<int64_t>(centres.size()) / base.cols;
  std::vector<int32_t> nearest(static_cast<std::size_t>(m));
  parallel_for(threads, m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      float best = std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < base.rows; ++i) {
        const float distance = l2(base.row(i), centres.data() + c * base.cols, base.cols);
        if (distance < best) {
          best = distance;
          nearest[static_cast<std::size_t>(c)] = static_cast<int32_t>(i);
        }
      }
    }
  });
  std::vector<int32_t> unique;
  for (const int32_t id : nearest) {
    if (std::find(unique.begin(), unique.end(), id) == unique.end()) unique.push_back(id);
  }
  return unique;
}

}  // namespace detail

/// The row nearest to the mean of all.
inline int32_t medoid(MatrixView<const float> base, int threads) {
  constexpr int64_t kBlock = 4096;  // partial sums by fixed blocks: one result at any thread count
  const int64_t blocks = (base.rows + kBlock - 1) / kBlock;
  const auto d = static_cast<std::size_t>(base.cols);
  std::vector<double> sums(static_cast<std::size_t>(blocks) * d, 0.0);
  parallel_for(threads, base.rows, kBlock, [&](int64_t begin, int64_t end) {
    double* sum = sums.data() + static_cast<std::size_t>(begin / kBlock) * d;
    for (int64_t i = begin; i < end; ++i) {
      for (std::size_t j = 0; j < d; ++j) sum[j] += static_cast<double>(base.row(i)[j]);
    }
  });
  std::vector<float> mean(d);
  for (std::size_t j = 0; j < d; ++j) {
    double total = 0;
    for (std::size_t b = 0; b < static_cast<std::size_t>(blocks); ++b) total += sums[b * d + j];
    mean[j] = static_cast<float>(total / static_cast<double>(base.rows));
  }
  return detail::nearest_rows(base, mean, threads)[0];
}

/// The rows nearest to `count` centres of Lloyd's k-means over a sample: at most `count`, unique.
inline std::vector<int32_t> kmeans_entries(MatrixView<const float> base, int count, uint64_t seed,
                                           int threads, int iterations = 6, int sample = 8192) {
  const int64_t d = base.cols;
  const std::vector<int32_t> rows = random_entries(base.rows, sample, mix_seed(seed, 1));
  const auto k = std::min<std::size_t>(static_cast<std::size_t>(std::max(count, 1)), rows.size());
  std::vector<float> centres(k * static_cast<std::size_t>(d));
  for (std::size_t c = 0; c < k; ++c) {  // the sample is in random order: its head is a draw
    std::copy_n(base.row(rows[c]), d, centres.data() + c * static_cast<std::size_t>(d));
  }
  std::vector<std::size_t> assigned(rows.size());
  for (int iteration = 0; iteration < iterations; ++iteration) {
    parallel_for(threads, static_cast<int64_t>(rows.size()), 256, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        float best = std::numeric_limits<float>::infinity();
        for (std::size_t c = 0; c < k; ++c) {
          const float* centre = centres.data() + c * static_cast<std::size_t>(d);
          const float distance = l2(base.row(rows[i]), centre, d);
          if (distance < best) best = distance, assigned[i] = c;
        }
      }
    });
    std::vector<double> sums(centres.size(), 0.0);
    std::vector<int64_t> members(k, 0);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      double* sum = sums.data() + assigned[i] * static_cast<std::size_t>(d);
      for (int64_t j = 0; j < d; ++j) sum[j] += static_cast<double>(base.row(rows[i])[j]);
      ++members[assigned[i]];
    }
    for (std::size_t i = 0; i < centres.size(); ++i) {
      const int64_t size = members[i / static_cast<std::size_t>(d)];
      if (size > 0) centres[i] = static_cast<float>(sums[i] / static_cast<double>(size));
    }
  }
  return detail::nearest_rows(base, centres, threads);
}

/// Scores the entries and returns the `keep` nearest, nearest first: score(id) -> distance. Out is
/// reused; nothing is allocated once it has grown.
template <class Score>
void nearest_entries(std::span<const int32_t> entries, int keep, Score&& score,
                     std::vector<Candidate>& out) {
  out.clear();
  for (const int32_t id : entries) out.push_back({score(id), id});
  const auto kept = std::min<std::size_t>(static_cast<std::size_t>(keep), out.size());
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(kept), out.end(),
                    nearer);
  out.resize(kept);
}

}  // namespace crinn::ann
