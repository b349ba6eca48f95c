// SPDX-License-Identifier: Apache-2.0
// exact_knn_vs_faiss [THREADS] [ROUNDS] [K] [DATASET...]: exact_knn() on the CPU, with leading axes
// as it chooses them and without, beside FAISS's IndexFlatL2, in turns, wall time; and how much of
// FAISS's answer is exact. Data sets are those of crinn-eval, of metric L2, their first 1,000
// queries; where none is named, clustered data of 128, 784 and 960 dimensions. A row a data set:
// seconds of each, FAISS's time over ours with its range.
#include <faiss/IndexFlat.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/eval/dataset.h"

namespace crinn {
namespace {

template <class Body>
double seconds_of(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds of each round of one system.
using Rounds = std::vector<double>;

std::string ratio_text(const Rounds& theirs, const Rounds& ours) {
  Rounds ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(theirs[i] / ours[i]);
  const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  return fmt::format("{:.2f} [{:.2f}, {:.2f}]", median(ratios), *low, *high);
}

void compare(const std::string& name, int threads, int rounds, int k) {
  eval::Dataset data = eval::load_dataset(name);
  eval::limit_queries(data, std::min<int64_t>(data.queries.rows(), 1000));
  const int64_t n = data.base.rows(), nq = data.queries.rows(), d = data.base.cols();
  faiss::IndexFlatL2 index(static_cast<int>(d));
  index.add(n, data.base.row(0));
  std::vector<float> distances(static_cast<std::size_t>(nq * k));
  std::vector<int64_t> ids(distances.size());  // what idx_t is in every version
  eval::GroundTruth truth;
  const auto ours = [&](std::optional<int64_t> axes) {
    truth = eval::exact_knn(data.base.view(), data.queries.view(), ann::Metric::kL2, k, threads, 0,
                            axes);
  };
  const std::array<std::function<void()>, 3> systems = {
      [&] { index.search(nq, data.queries.row(0), k, distances.data(), ids.data()); },
      [&] { ours(std::nullopt); }, [&] { ours(0); }};
  std::array<Rounds, 3> seconds;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    for (std::size_t turn = 0; turn < systems.size(); ++turn) {
      const std::size_t at = (turn + static_cast<std::size_t>(round + 1)) % systems.size();
      const double took = seconds_of(systems[at]);
      if (round >= 0) seconds[at].push_back(took);
    }
  }
  int64_t equal = 0;
  for (int64_t q = 0; q < nq; ++q) {
    const std::set<int64_t> exact(truth.ids.begin() + q * k, truth.ids.begin() + (q + 1) * k);
    for (int64_t j = 0; j < k; ++j) {
      equal += exact.contains(ids[static_cast<std::size_t>(q * k + j)]) ? 1 : 0;
    }
  }
  fmt::print("{:<26} {:>7} {:>4} {:>8.3f} {:>8.3f} {:>8.3f}  {:<20} {:<20} {:>8.1f} {:>10.6f}\n",
             data.name, n, d, median(seconds[0]), median(seconds[1]), median(seconds[2]),
             ratio_text(seconds[0], seconds[1]), ratio_text(seconds[0], seconds[2]),
             2e-9 * static_cast<double>(n * nq * d) / median(seconds[2]),
             static_cast<double>(equal) / static_cast<double>(nq * k));
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  const auto argument = [&](int i, int fallback) {
    return argc > i ? std::atoi(argv[i]) : fallback;
  };
  const int threads = std::max(argument(1, 1), 1), rounds = std::max(argument(2, 5), 1);
  const int k = std::max(argument(3, 100), 1);
  std::vector<std::string> names(argv + std::min(argc, 4), argv + argc);
  if (names.empty()) {
    for (const int d : {128, 784, 960}) {
      names.push_back(fmt::format(
          "synthetic:n=50000,d={},clusters=200,metric=euclidean,seed=1,queries=1000", d));
    }
  }
  omp_set_num_threads(threads);
  fmt::print("k {}, {} thread(s), {} rounds\n", k, threads, rounds);
  fmt::print("{:<26} {:>7} {:>4} {:>8} {:>8} {:>8}  {:<20} {:<20} {:>8} {:>10}\n", "data set", "n",
             "d", "faiss s", "ours s", "plain s", "faiss / ours", "faiss / plain", "plain GF",
             "ids equal");
  for (const std::string& name : names) compare(name, threads, rounds, k);
  return 0;
}

}  // namespace
}  // namespace crinn

int main(int argc, char** argv) {
  return crinn::run_tool("exact_knn_vs_faiss", crinn::run, argc, argv);
}
