// SPDX-License-Identifier: Apache-2.0
// baseline_vs_hnswlib DATASET [ROUNDS] [CORE]: the baseline triple and hnswlib (M 16,
// efConstruction 200) on one pinned core, in alternating slices over the same queries. Prints one
// line a system and ef, then the ratio of QPS at fixed recall: median over rounds and their range.
// CRINN_BENCH_EFS="10,20,40" replaces the sweep.
#include <fmt/core.h>
#include <hnswlib/hnswlib.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/modules/baseline/construction.h"
#include "crinn/ann/modules/baseline/refinement.h"
#include "crinn/ann/modules/baseline/search.h"
#include "crinn/ann/normalize.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/eval/dataset.h"
#include "crinn/eval/reward.h"

namespace crinn {
namespace {

using Pipeline = ann::Pipeline<ann::baseline::Search, ann::baseline::Refinement>;
constexpr int kNeighbors = 10, kDegree = 32, kEfConstruction = 200;
constexpr int64_t kSlice = 50;  // queries: a few milliseconds

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Hnswlib {
 public:
  Hnswlib(MatrixView<const float> base, ann::Metric metric) {
    const auto d = static_cast<size_t>(base.cols);
    if (metric == ann::Metric::kL2) {
      space_ = std::make_unique<hnswlib::L2Space>(d);
    } else {
      space_ = std::make_unique<hnswlib::InnerProductSpace>(d);
    }
    graph_ = std::make_unique<hnswlib::HierarchicalNSW<float>>(
        space_.get(), static_cast<size_t>(base.rows), kDegree / 2, kEfConstruction);
    for (int64_t i = 0; i < base.rows; ++i) graph_->addPoint(base.row(i), static_cast<size_t>(i));
  }
  void search(const float* query, int ef, int32_t* ids) {
    graph_->setEf(static_cast<size_t>(ef));
    auto found = graph_->searchKnn(query, kNeighbors);
    std::fill_n(ids, kNeighbors, -1);
    for (auto at = found.size(); at-- > 0; found.pop()) {
      ids[at] = static_cast<int32_t>(found.top().second);
    }
  }

 private:
  std::unique_ptr<hnswlib::SpaceInterface<float>> space_;
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph_;
};

double recall_of(const eval::Dataset& data, const std::vector<int32_t>& ids) {
  int64_t found = 0;
  for (int64_t q = 0; q < data.queries.rows(); ++q) {
    const double limit =
        data.truth.distances[static_cast<size_t>(q * data.truth.k + kNeighbors - 1)];
    for (int j = 0; j < kNeighbors; ++j) {
      const int32_t id = ids[static_cast<size_t>(q * kNeighbors + j)];
      found +=
          id >= 0 && ann::exact_distance(data.queries.row(q), data.base.row(id), data.base.cols(),
                                         data.metric) <= limit + 1e-6 * std::abs(limit);
    }
  }
  return static_cast<double>(found) / static_cast<double>(data.queries.rows() * kNeighbors);
}

void normalize_rows(eval::Matrix& matrix) {
  for (int64_t i = 0; i < matrix.rows(); ++i) {
    ann::normalize(matrix.row(i), matrix.row(i), matrix.cols());
  }
}

std::vector<int> efs() {
  const char* text = std::getenv("CRINN_BENCH_EFS");
  std::vector<int> values;
  std::istringstream in(text ? text : "10,14,20,28,40,56,80,112,160,224,320,448,640");
  for (std::string item; std::getline(in, item, ',');) values.push_back(std::stoi(item));
  return values;
}

template <class Values>
double median(Values values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

int run(int argc, char** argv) {
  if (argc < 2) {
    throw Error(ErrorCategory::kUsage, "usage: baseline_vs_hnswlib DATASET [ROUNDS] [CORE]");
  }
  const int rounds = argc > 2 ? std::max(std::atoi(argv[2]), 1) : 5;
  if (argc > 3) pin_to_core(std::atoi(argv[3]));
  eval::Dataset data = eval::load_dataset(argv[1]);
  if (data.truth.k < kNeighbors) {
    data.truth = eval::exact_knn(data.base.view(), data.queries.view(), data.metric, kNeighbors, 1);
  }
  if (data.metric == ann::Metric::kCosine) {
    normalize_rows(data.base);
    normalize_rows(data.queries);
  }
  double start = cpu_seconds();
  const ann::Graph graph = ann::baseline::Construction::build(
      {data.base.view(), data.metric, kDegree, kEfConstruction, 1, 1});
  const double graph_seconds = cpu_seconds() - start;
  const Pipeline pipeline({data.base.view(), data.metric, graph, 1, 1});
  const double ours_seconds = cpu_seconds() - start;
  start = cpu_seconds();
  Hnswlib hnswlib(data.base.view(), data.metric);
  fmt::print("{}: n {}, d {}; build baseline {:.1f} s (graph {:.1f} s), hnswlib {:.1f} s\n",
             data.name, data.base.rows(), data.base.cols(), ours_seconds, graph_seconds,
             cpu_seconds() - start);

  const std::vector<int> sweep = efs();
  const int64_t queries = data.queries.rows();
  Pipeline::Scratch scratch = pipeline.make_scratch();
  // [system][ef][round] seconds of one pass over all queries
  std::vector<std::vector<std::vector<double>>> seconds(
      2, std::vector<std::vector<double>>(sweep.size(), std::vector<double>(rounds, 0.0)));
  std::vector<std::vector<double>> recall(2, std::vector<double>(sweep.size()));
  std::vector<double> distances(sweep.size());
  std::vector<int32_t> ids(static_cast<size_t>(queries * kNeighbors));
  const auto pass = [&](int system, int ef, int64_t begin, int64_t end) {
    const double from = cpu_seconds();
    for (int64_t q = begin; q < end; ++q) {
      int32_t* out = ids.data() + q * kNeighbors;
      if (system == 0) {
        pipeline.search(data.queries.row(q), kNeighbors, ef, scratch, out);
      } else {
        hnswlib.search(data.queries.row(q), ef, out);
      }
    }
    return cpu_seconds() - from;
  };
  for (size_t e = 0; e < sweep.size(); ++e) {
    for (int system = 0; system < 2; ++system) {  // also the warm-up
      scratch.search.distance_count = 0;
      pass(system, sweep[e], 0, queries);
      recall[static_cast<size_t>(system)][e] = recall_of(data, ids);
      if (system == 0) {
        distances[e] =
            static_cast<double>(scratch.search.distance_count) / static_cast<double>(queries);
      }
    }
    for (int round = 0; round < rounds; ++round) {
      for (int64_t begin = 0; begin < queries; begin += kSlice) {
        const int64_t end = std::min(begin + kSlice, queries);
        for (int turn = 0; turn < 2; ++turn) {
          const int system = (turn + static_cast<int>(begin / kSlice) + round) % 2;
          seconds[static_cast<size_t>(system)][e][static_cast<size_t>(round)] +=
              pass(system, sweep[e], begin, end);
        }
      }
    }
  }

  const auto qps = [&](size_t system, size_t e, size_t round) {
    return static_cast<double>(queries) / seconds[system][e][round];
  };
  fmt::print("{:>9} {:>5} {:>7} {:>9} {:>9} {:>9} {:>8}\n", "system", "ef", "recall", "qps", "min",
             "max", "ndis");
  for (size_t system = 0; system < 2; ++system) {
    for (size_t e = 0; e < sweep.size(); ++e) {
      std::vector<double> all;
      for (size_t round = 0; round < static_cast<size_t>(rounds); ++round) {
        all.push_back(qps(system, e, round));
      }
      const auto [low, high] = std::minmax_element(all.begin(), all.end());
      fmt::print("{:>9} {:>5} {:>7.4f} {:>9.0f} {:>9.0f} {:>9.0f} {:>8}\n",
                 system == 0 ? "baseline" : "hnswlib", sweep[e], recall[system][e], median(all),
                 *low, *high, system == 0 ? fmt::format("{:.0f}", distances[e]) : "");
    }
  }
  for (const double level : {0.90, 0.95, 0.99}) {
    std::vector<double> ratios, ours, theirs;
    for (size_t round = 0; round < static_cast<size_t>(rounds); ++round) {
      double at[2];
      for (size_t system = 0; system < 2; ++system) {
        std::vector<eval::CurvePoint> points;
        for (size_t e = 0; e < sweep.size(); ++e) {
          points.push_back({recall[system][e], qps(system, e, round)});
        }
        at[system] = eval::qps_at(eval::upper_envelope(points), level);
      }
      ours.push_back(at[0]);
      theirs.push_back(at[1]);
      if (at[1] > 0) ratios.push_back(at[0] / at[1]);
    }
    if (ratios.empty()) {
      fmt::print("recall {:.2f}: baseline {:.0f}, hnswlib does not reach it\n", level,
                 median(ours));
      continue;
    }
    const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
    fmt::print("recall {:.2f}: baseline {:.0f}, hnswlib {:.0f}, ratio {:.2f} [{:.2f}, {:.2f}]\n",
               level, median(ours), median(theirs), median(ratios), *low, *high);
  }
  return 0;
}

}  // namespace
}  // namespace crinn

int main(int argc, char** argv) {
  return crinn::run_tool("baseline_vs_hnswlib", crinn::run, argc, argv);
}
