// SPDX-License-Identifier: Apache-2.0
// Two controls of the judge: the baseline against itself (the ratio must be 1) and against itself
// with four per cent of work added to every query (the ratio must be 1 / 1.04). Run on a quiet
// machine: judge_controls [DATA SET] [ROUNDS] [RACE SECONDS].
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/parallel.h"
#include "crinn/eval/dataset.h"
#include "crinn/eval/reward.h"
#include "crinn/harness/judge.h"

namespace {

using namespace crinn;

// Spins for a twenty-fifth of what each query took; the time-stamp counter is the same for both.
constexpr char kSlower[] = R"(
namespace crinn::ann::control {
struct Search {
  static constexpr bool kExactEstimates = baseline::Search::kExactEstimates;
  using Scratch = baseline::Search::Scratch;
  explicit Search(const SearchInput& input) : inner(input) {}
  Scratch make_scratch() const { return inner.make_scratch(); }
  void search(const float* query, int k, int ef, Scratch& scratch,
              std::vector<Candidate>& out) const {
    const auto start = __builtin_ia32_rdtsc();
    inner.search(query, k, ef, scratch, out);
    const auto spent = __builtin_ia32_rdtsc() - start;
    while (__builtin_ia32_rdtsc() - start < spent + spent / 25) {
    }
  }
  baseline::Search inner;
};
}  // namespace crinn::ann::control
)";

// Geometric mean over points of baseline time / candidate time, one value an instance.
void collect(const harness::Measurement& m, std::vector<double>& ratios) {
  for (const harness::RaceInstance& instance : m.instances) {
    double sum = 0;
    std::size_t count = 0;
    for (const harness::RacePoint& b : instance.baseline) {
      for (const harness::RacePoint& c : instance.candidate) {
        if (b.ef != c.ef) continue;
        sum += std::log(b.seconds_per_query / c.seconds_per_query);
        ++count;
      }
    }
    if (count > 0) ratios.push_back(sum / static_cast<double>(count));
  }
}

void print(const char* name, const std::vector<double>& logs, double expected) {
  const eval::Interval ratio = eval::ratio_interval(logs);
  std::printf("%-12s QPS ratio %.4f  [%.4f, %.4f]  expected %.4f  (%zu instances)\n", name,
              ratio.estimate, ratio.low, ratio.high, expected, logs.size());
}

int body(int argc, char** argv) {
  const std::string name =
      argc > 1 ? argv[1] : "synthetic:n=20000,d=64,clusters=200,metric=euclidean,seed=1";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 2;
  const eval::Dataset data = eval::load_dataset(name);
  harness::Workload load;
  load.name = data.name;
  load.metric = data.metric;
  load.base = data.base.view();
  load.queries = data.queries.view();
  eval::GroundTruth truth = data.truth;
  if (truth.k < load.k) {
    truth = eval::exact_knn(load.base, load.queries, load.metric, load.k, available_cores());
  }
  std::vector<double> kth;
  for (int64_t q = 0; q < truth.queries; ++q) {
    kth.push_back(truth.distances[static_cast<std::size_t>(q * truth.k + load.k - 1)]);
  }
  load.kth_distance = kth;

  const char* kept = std::getenv("CRINN_WORK");  // keeps graphs from one run to the next
  const TemporaryFolder temporary;
  harness::JudgeOptions options;
  options.work_folder = kept != nullptr ? kept : temporary.path();
  if (argc > 3) options.race_seconds = std::atof(argv[3]);
  options.screen = false;  // the control reads a clock
  harness::Judge judge(options, load);
  const harness::Triple baseline = harness::load_triple("baseline");
  harness::Triple slower = baseline;
  slower.search.text += kSlower;

  std::vector<double> same, slow;
  for (int round = 0; round < rounds; ++round) {
    for (const auto& [candidate, ratios] : {std::pair{&baseline, &same}, {&slower, &slow}}) {
      const harness::Measurement m =
          judge.judge(*candidate, baseline, static_cast<uint64_t>(round) + 1);
      std::fprintf(stderr, "round %d: %s, noise %s, %.1f s, build %.2f s, %.1f MiB %s\n", round,
                   std::string(to_string(m.outcome)).c_str(),
                   std::string(to_string(m.noise)).c_str(), m.judge_seconds,
                   m.candidate_cost.build_seconds, m.candidate_cost.index_bytes / 1048576,
                   m.evidence.c_str());
      collect(m, *ratios);
      if (std::getenv("CRINN_JSON") != nullptr) std::printf("%s\n", to_json(m).c_str());
    }
  }
  print("A/A", same, 1.0);
  print("+4 %", slow, 1 / 1.04);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return crinn::run_tool("judge_controls", body, argc, argv); }
