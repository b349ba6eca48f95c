// SPDX-License-Identifier: Apache-2.0
// Judges triples that are written as derivations of the grammars: what the search space holds, and
// what a verdict costs. judge_derivations DATA SET FILE [INSTANCES] [RACE SECONDS] [QUERIES FROM]
// CRINN_JSON=1 prints the measurements as well. FILE: see derivations.h.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/parallel.h"
#include "crinn/eval/dataset.h"
#include "crinn/eval/ground_truth.h"
#include "crinn/eval/reward.h"
#include "crinn/harness/judge.h"
#include "derivations.h"

namespace {

using namespace crinn;

int body(int argc, char** argv) {
  if (argc < 3) {
    throw Error(ErrorCategory::kUsage,
                "usage: judge_derivations DATASET FILE [INSTANCES] [RACE SECONDS] [QUERIES FROM]");
  }
  const train::GrammarCodec codec;
  const std::vector<bench::Entry> entries = bench::read_derivations(argv[2], codec);
  const eval::Dataset data = eval::load_dataset(argv[1]);
  const int64_t from = argc > 5 ? std::atoll(argv[5]) : 0;
  const int64_t count = std::min<int64_t>(1000, data.queries.rows() - from);
  harness::Workload load;
  load.name = data.name;
  load.metric = data.metric;
  load.base = data.base.view();
  load.queries = data.queries.view().slice(from, count);
  const eval::GroundTruth truth =
      eval::exact_knn(load.base, load.queries, load.metric, load.k, available_cores());
  const std::vector<double> kth = eval::kth_distances(truth, load.k);
  load.kth_distance = kth;

  const char* kept = std::getenv("CRINN_WORK");  // keeps graphs from one run to the next
  const TemporaryFolder temporary;
  harness::JudgeOptions options;
  options.work_folder = kept != nullptr ? kept : temporary.path();
  if (argc > 3) options.instances = std::atoi(argv[3]);
  if (argc > 4) options.race_seconds = std::atof(argv[4]);
  harness::Judge judge(options, load);
  const harness::Triple baseline = harness::load_triple("baseline");
  for (const bench::Entry& entry : entries) {
    const harness::Measurement m = judge.judge(entry.triple, baseline, 1);
    fmt::print("{:<24} {:>5.1f} s = {:.1f} prove + {:.1f} sweep + {:.1f} race  ", entry.name,
               m.judge_seconds, m.prove_seconds, m.sweep_seconds, m.race_seconds);
    if (m.valid()) {
      const eval::Assessment a = eval::assess(m, options.band_low, options.band_high);
      fmt::print("area {:.3f}x [{:.3f}, {:.3f}]", a.auc_ratio.estimate, a.auc_ratio.low,
                 a.auc_ratio.high);
      for (const auto& [recall, ratio] : a.qps_ratio) {
        fmt::print("  {:g}: {:.2f}x", recall, ratio.estimate);
      }
      fmt::print("  build {:.2f}x  memory {:.2f}x  noise {}\n",
                 m.candidate_cost.build_seconds / m.baseline_cost.build_seconds,
                 m.candidate_cost.index_bytes / m.baseline_cost.index_bytes, to_string(m.noise));
    } else {
      fmt::print("{} at {}: {}\n", to_string(m.outcome), to_string(m.stage), m.evidence);
    }
    if (std::getenv("CRINN_JSON") != nullptr) fmt::print("{}\n", to_json(m));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return crinn::run_tool("judge_derivations", body, argc, argv); }
