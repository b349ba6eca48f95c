// SPDX-License-Identifier: Apache-2.0
// Systems side by side on one pinned core: all are built, then take turns in short slices over the
// same queries, so that what the machine does to one it does to all. Prints each system's curve,
// then build time, memory, area under the curve (recall .85 to .95) and QPS at fixed recall with
// the ratio to the first system: medians over rounds and their range.
//   side_by_side DATASET --systems baseline,champion,hnswlib,glass-sq4u,glass-sq8u,symphonyqg
// A system can also be the name of a block of --derivations FILE.
#include <fmt/format.h>
#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/normalize.h"
#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/parallel.h"
#include "crinn/eval/dataset.h"
#include "crinn/eval/ground_truth.h"
#include "crinn/eval/reward.h"
#include "derivations.h"
#include "layers.h"
#include "rivals/ours.h"
#include "rivals/system.h"
#include "toolchain.h"

namespace crinn::bench {
namespace {

constexpr int64_t kSlice = 250, kWarmUp = 50;  // queries: some ten milliseconds
constexpr double kBandLow = 0.85, kBandHigh = 0.95;

struct Options {
  std::string dataset, derivations, cache = "build/side_by_side";
  std::vector<std::string> systems = {"baseline", "champion"};
  int rounds = 5, core = -1, threads = 1, max_effort = 3000;
  int64_t queries = 1000, from = 0;
};

double cpu_seconds(clockid_t clock = CLOCK_PROCESS_CPUTIME_ID) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Anonymous memory of this process in bytes, without what the allocator merely keeps.
struct Memory {
  double all = 0, huge = 0;  ///< huge: what of it lies in huge pages
};

Memory anonymous_memory() {
  malloc_trim(0);
  Memory memory;
  std::ifstream in("/proc/self/smaps_rollup");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Anonymous:")) memory.all = 1024.0 * std::stod(line.substr(10));
    if (line.starts_with("AnonHugePages:")) memory.huge = 1024.0 * std::stod(line.substr(14));
  }
  return memory;
}

/// One effort of one system.
struct Point {
  int effort = 0;
  double recall = 0;
  std::vector<double> seconds;  ///< [round] CPU seconds of one pass over all queries
};

struct Entrant {
  std::string name;
  std::unique_ptr<System> system;
  double build_seconds = 0;
  Memory memory;  ///< what it holds beyond what there was
  std::vector<Point> points;
};

/// What builds a system: all that is compiled is compiled before.
std::function<std::unique_ptr<System>(const Problem&)> maker_of(
    const std::string& name, const std::vector<Entry>& derivations, const Options& options) {
  if (name == "hnswlib") return make_hnswlib;
  if (name == "symphonyqg") return make_symphonyqg;
  if (name == "glass-sq4u") return [](const Problem& p) { return make_glass(p, "SQ4U", "FP16"); };
  if (name == "glass-sq8u") return [](const Problem& p) { return make_glass(p, "SQ8U", ""); };
  for (const Entry& entry : derivations) {
    if (entry.name == name) return compile_triple(entry.triple, entry.degree, options.cache);
  }
  return compile_triple(harness::load_triple(name), 32, options.cache);
}

/// What a system's constructor prints is not this program's output.
class QuietStdout {
 public:
  QuietStdout() : kept_((std::fflush(stdout), dup(STDOUT_FILENO))) {
    dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  ~QuietStdout() {
    std::fflush(stdout);
    dup2(kept_, STDOUT_FILENO);
    close(kept_);
  }
  QuietStdout(const QuietStdout&) = delete;
  QuietStdout& operator=(const QuietStdout&) = delete;

 private:
  int kept_;
};

class Bench {
 public:
  Bench(const eval::Dataset& data, MatrixView<const float> queries, std::vector<double> kth)
      : data_(data), queries_(queries), kth_(std::move(kth)) {
    ids_.resize(static_cast<std::size_t>(queries.rows * kNeighbors));
  }

  double pass(System& system, int effort, int64_t begin, int64_t end) {
    const double from = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
    for (int64_t q = begin; q < end; ++q) {
      system.search(queries_.row(q), effort, ids_.data() + q * kNeighbors);
    }
    return cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - from;
  }

  /// Efforts from k on, each a quarter more than the last, until recall is beyond .995 or no longer
  /// grows. Also the warm-up.
  void find_points(Entrant& entrant, int max_effort) {
    int still = 0;
    for (int effort = kNeighbors; effort <= max_effort && still < 5; effort += effort / 4 + 1) {
      pass(*entrant.system, effort, 0, queries_.rows);
      const double reached = recall();
      still =
          entrant.points.empty() || reached > entrant.points.back().recall + 2e-4 ? 0 : still + 1;
      entrant.points.push_back({effort, reached, {}});
      if (reached > 0.995) break;
    }
    // What lies far below the band says nothing about it.
    while (entrant.points.size() > 1 && entrant.points[1].recall < kBandLow - 0.05) {
      entrant.points.erase(entrant.points.begin());
    }
  }

  void race(std::vector<Entrant>& entrants, int rounds) {
    std::size_t most = 0;
    for (const Entrant& entrant : entrants) most = std::max(most, entrant.points.size());
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t p = 0; p < most; ++p) {
        for (Entrant& entrant : entrants) {
          if (p < entrant.points.size()) entrant.points[p].seconds.push_back(0);
        }
        for (int64_t begin = 0; begin < queries_.rows; begin += kSlice) {
          const int64_t end = std::min(begin + kSlice, queries_.rows);
          for (std::size_t turn = 0; turn < entrants.size(); ++turn) {
            const auto shift = static_cast<std::size_t>(begin / kSlice + round);
            Entrant& entrant = entrants[(turn + shift) % entrants.size()];
            if (p >= entrant.points.size()) continue;
            Point& point = entrant.points[p];
            // The others have emptied the caches: that is not what a search costs.
            const int64_t before = (begin + queries_.rows / 2) % queries_.rows;
            pass(*entrant.system, point.effort, before, std::min(before + kWarmUp, queries_.rows));
            point.seconds.back() += pass(*entrant.system, point.effort, begin, end);
          }
        }
      }
    }
  }

 private:
  double recall() const {
    int64_t found = 0;
    for (int64_t q = 0; q < queries_.rows; ++q) {
      const double limit = kth_[static_cast<std::size_t>(q)];
      for (int j = 0; j < kNeighbors; ++j) {
        const int32_t id = ids_[static_cast<std::size_t>(q * kNeighbors + j)];
        found +=
            id >= 0 && ann::exact_distance(queries_.row(q), data_.base.row(id), data_.base.cols(),
                                           data_.metric) <= limit + 1e-6 * std::abs(limit);
      }
    }
    return static_cast<double>(found) / static_cast<double>(queries_.rows * kNeighbors);
  }

  const eval::Dataset& data_;
  MatrixView<const float> queries_;
  std::vector<double> kth_;
  std::vector<int32_t> ids_;
};

struct Spread {
  double low = 0, median = 0, high = 0;
};

Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

/// [round] of `figure` of the system's curve.
template <class Figure>
std::vector<double> by_round(const Entrant& entrant, int rounds, int64_t queries, Figure figure) {
  std::vector<double> values;
  for (int round = 0; round < rounds; ++round) {
    std::vector<eval::CurvePoint> curve;
    for (const Point& point : entrant.points) {
      const double seconds = point.seconds[static_cast<std::size_t>(round)];
      curve.push_back({point.recall, static_cast<double>(queries) / seconds});
    }
    values.push_back(figure(eval::upper_envelope(curve)));
  }
  return values;
}

void print_figure(const std::vector<Entrant>& entrants, const Options& options, int64_t queries,
                  const std::string& title, const auto& figure) {
  const std::vector<double> first = by_round(entrants[0], options.rounds, queries, figure);
  fmt::print("\n{}\n", title);
  for (const Entrant& entrant : entrants) {
    const std::vector<double> values = by_round(entrant, options.rounds, queries, figure);
    if (values[0] <= 0) {
      fmt::print("  {:<24} not reached\n", entrant.name);
      continue;
    }
    fmt::print("  {:<24} {:>9.0f}", entrant.name, spread(values).median);
    if (first[0] > 0) {
      std::vector<double> ratios;
      for (std::size_t r = 0; r < values.size(); ++r) ratios.push_back(values[r] / first[r]);
      const Spread ratio = spread(ratios);
      fmt::print("  {:.2f}x [{:.2f}, {:.2f}]", ratio.median, ratio.low, ratio.high);
    }
    fmt::print("\n");
  }
}

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Systems side by side on one core");
  app.add_option("dataset", options.dataset, "As for crinn-eval")->required();
  app.add_option("--systems", options.systems, "The first is what the others are compared with")
      ->delimiter(',');
  app.add_option("--derivations", options.derivations, "File of named derivations");
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--core", options.core, "-1: the last one");
  app.add_option("--threads", options.threads, "Threads of a build")->check(CLI::PositiveNumber);
  app.add_option("--queries", options.queries)->check(CLI::PositiveNumber);
  app.add_option("--from", options.from, "The first query")->check(CLI::NonNegativeNumber);
  app.add_option("--max-effort", options.max_effort)->check(CLI::PositiveNumber);
  app.add_option("--cache", options.cache, "Folder of compiled modules");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) std::exit(app.exit(error));
    throw Error(ErrorCategory::kUsage, error.what());
  }
  return options;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const train::GrammarCodec codec;
  std::vector<Entry> derivations;
  if (!options.derivations.empty()) derivations = read_derivations(options.derivations, codec);
  eval::Dataset data = eval::load_dataset(options.dataset);
  if (options.from >= data.queries.rows()) {
    throw Error(ErrorCategory::kUsage, fmt::format("--from {}: {} has {} queries", options.from,
                                                   data.name, data.queries.rows()));
  }
  const int64_t count = std::min(options.queries, data.queries.rows() - options.from);
  if (data.metric == ann::Metric::kCosine) {
    for (eval::Matrix* matrix : {&data.base, &data.queries}) {
      for (int64_t i = 0; i < matrix->rows(); ++i) {
        ann::normalize(matrix->row(i), matrix->row(i), matrix->cols());
      }
    }
  }
  const MatrixView<const float> queries = data.queries.view().slice(options.from, count);
  const eval::GroundTruth truth =
      eval::exact_knn(data.base.view(), queries, data.metric, kNeighbors, available_cores());
  Bench bench(data, queries, eval::kth_distances(truth, kNeighbors));

  fmt::print("{}: n {}, d {}, {} queries from {}, {} build thread(s), {}\n", data.name,
             data.base.rows(), data.base.cols(), count, options.from, options.threads,
             harness::machine_fingerprint());
  const int core = options.core >= 0 ? options.core : harness::allowed_cores().back();
  std::vector<Entrant> entrants;
  for (const std::string& name : options.systems) {
    const QuietStdout quiet;
    const auto make = maker_of(name, derivations, options);
    Entrant entrant{name, nullptr, 0, {}, {}};
    const Memory before = anonymous_memory();
    const double start = cpu_seconds(CLOCK_MONOTONIC);
    entrant.system = make({data.base.view(), data.metric, options.threads});
    entrant.build_seconds = cpu_seconds(CLOCK_MONOTONIC) - start;
    const Memory after = anonymous_memory();
    entrant.memory = {after.all - before.all, after.huge - before.huge};
    entrants.push_back(std::move(entrant));
  }
  pin_to_core(core);
  for (Entrant& entrant : entrants) bench.find_points(entrant, options.max_effort);
  bench.race(entrants, options.rounds);

  fmt::print("{:<24} {:>6} {:>7} {:>9} {:>9} {:>9}\n", "system", "effort", "recall", "qps", "min",
             "max");
  for (const Entrant& entrant : entrants) {
    for (const Point& point : entrant.points) {
      std::vector<double> qps;
      for (const double s : point.seconds) qps.push_back(static_cast<double>(count) / s);
      const Spread s = spread(qps);
      fmt::print("{:<24} {:>6} {:>7.4f} {:>9.0f} {:>9.0f} {:>9.0f}\n", entrant.name, point.effort,
                 point.recall, s.median, s.low, s.high);
    }
  }
  fmt::print("\nbuild seconds, MiB beyond the vectors, of them in huge pages\n");
  for (const Entrant& entrant : entrants) {
    fmt::print("  {:<24} {:>9.1f} {:>9.1f} {:>9.1f}\n", entrant.name, entrant.build_seconds,
               entrant.memory.all / (1 << 20), entrant.memory.huge / (1 << 20));
  }
  print_figure(entrants, options, count, "area, recall .85 to .95",
               [](const auto& curve) { return eval::area(curve, kBandLow, kBandHigh); });
  for (const double recall : {0.90, 0.95, 0.99}) {
    print_figure(entrants, options, count, fmt::format("QPS at recall {:.2f}", recall),
                 [recall](const auto& curve) { return eval::qps_at(curve, recall); });
  }
  return 0;
}

}  // namespace
}  // namespace crinn::bench

int main(int argc, char** argv) {
  return crinn::run_tool("side_by_side", crinn::bench::run, argc, argv);
}
