// SPDX-License-Identifier: Apache-2.0
// exact_knn_vs_faiss [THREADS] [ROUNDS] [N] [QUERIES] [K]: exact_knn() on the CPU beside FAISS's
// IndexFlatL2 on clustered data of 128, 784 and 960 dimensions, in turns, wall time; and how much
// of FAISS's answer is exact. A row a dimension: seconds of each, ratio with its range, GFLOP/s.
#include <faiss/IndexFlat.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
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

int run(int argc, char** argv) {
  const auto argument = [&](int i, int fallback) {
    return argc > i ? std::atoi(argv[i]) : fallback;
  };
  const int threads = std::max(argument(1, 1), 1), rounds = std::max(argument(2, 5), 1);
  const int n = argument(3, 50000), nq = argument(4, 1000), k = argument(5, 100);
  omp_set_num_threads(threads);
  fmt::print("n {}, {} queries, k {}, {} thread(s), {} rounds\n", n, nq, k, threads, rounds);
  fmt::print("{:>5} {:>9} {:>9} {:>20} {:>9} {:>9} {:>10}\n", "d", "ours s", "faiss s",
             "faiss / ours", "ours GF", "faiss GF", "ids equal");
  for (const int d : {128, 784, 960}) {
    const eval::Dataset data = eval::load_dataset(fmt::format(
        "synthetic:n={},d={},clusters=200,metric=euclidean,seed=1,queries={}", n, d, nq));
    faiss::IndexFlatL2 index(d);
    index.add(n, data.base.row(0));
    std::vector<float> distances(static_cast<std::size_t>(nq) * static_cast<std::size_t>(k));
    std::vector<int64_t> ids(distances.size());  // what idx_t is in every version
    eval::GroundTruth truth;
    std::vector<double> ours, theirs, ratios;
    for (int round = -1; round < rounds; ++round) {  // the first one warms up
      const auto run_ours = [&] {
        truth = eval::exact_knn(data.base.view(), data.queries.view(), data.metric, k, threads);
      };
      const auto run_theirs = [&] {
        index.search(nq, data.queries.row(0), k, distances.data(), ids.data());
      };
      double a = 0, b = 0;
      if (round % 2 == 0) {
        a = seconds_of(run_ours);
        b = seconds_of(run_theirs);
      } else {
        b = seconds_of(run_theirs);
        a = seconds_of(run_ours);
      }
      if (round < 0) continue;
      ours.push_back(a);
      theirs.push_back(b);
      ratios.push_back(b / a);
    }
    int64_t equal = 0;
    for (int q = 0; q < nq; ++q) {
      const std::set<int64_t> exact(truth.ids.begin() + q * k, truth.ids.begin() + (q + 1) * k);
      for (int j = 0; j < k; ++j) {
        equal += exact.contains(ids[static_cast<std::size_t>(q * k + j)]) ? 1 : 0;
      }
    }
    const double flops = 2e-9 * n * static_cast<double>(nq) * d;
    const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
    fmt::print(
        "{:>5} {:>9.3f} {:>9.3f} {:>6.2f} [{:>5.2f}, {:>5.2f}] {:>9.1f} {:>9.1f} {:>10.6f}\n", d,
        median(ours), median(theirs), median(ratios), *low, *high, flops / median(ours),
        flops / median(theirs), static_cast<double>(equal) / (static_cast<double>(nq) * k));
  }
  return 0;
}

}  // namespace
}  // namespace crinn

int main(int argc, char** argv) {
  return crinn::run_tool("exact_knn_vs_faiss", crinn::run, argc, argv);
}
