// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "crinn/eval/reward.h"
#include "crinn/harness/measurement.h"

namespace crinn::eval {

/// One ef of one system: means over the instances (geometric for QPS).
struct SystemPoint {
  int ef = 0;
  double recall = 0, qps = 0;
  double p50_us = 0, p95_us = 0, p99_us = 0;  ///< latency of single queries
  double distances_per_query = 0;
};

/// How a system fared in its race against the baseline.
struct Verdict {
  harness::Outcome outcome = harness::Outcome::kNoCode;
  harness::Stage stage = harness::Stage::kExtract;
  std::string evidence;
  harness::NoiseGrade noise = harness::NoiseGrade::kQuiet;
  double judge_seconds = 0;
  bool valid() const { return outcome == harness::Outcome::kValid; }
};

/// One curve with its figures, and its ratio to the baseline measured in the same race.
struct SystemResult {
  std::string name;
  bool candidate = false;  ///< a person's module, as opposed to a system of the tree
  Verdict verdict;
  std::vector<SystemPoint> points;  ///< by ef, ascending
  Interval auc;
  std::vector<std::pair<double, Interval>> qps;  ///< at kFixedRecalls, where it is reached
  double build_seconds = 0, index_bytes = 0;
  Interval auc_ratio;  ///< unset (estimate 0) where there was no race
  std::vector<std::pair<double, Interval>> qps_ratio;
  /// By ef, from the first instance; filled only when answers were asked for.
  std::vector<harness::RacePoint> answers;
};

/// Everything that crinn-eval found out, and how.
struct Evaluation {
  std::string dataset, metric, truth_source;
  int64_t base_count = 0, query_count = 0;
  int dimension = 0, k = 10;
  double band_low = 0.85, band_high = 0.95;
  int instances = 0;
  double race_seconds = 0;
  int degree = 0, ef_construction = 0;
  uint64_t seed = 0;
  std::string command, version, machine, started;  ///< started: UTC, ISO 8601
  std::vector<std::string> layers;
  harness::NoiseGrade noise = harness::NoiseGrade::kQuiet;  ///< the worst of all races
  double steal_fraction = 0;                                ///< likewise
  std::vector<SystemResult> systems;                        ///< the baseline first
};

enum class Side { kBaseline, kCandidate };

/// One side of a race as a system: points averaged by ef, area, QPS at fixed recalls, costs. Under
/// Side::kBaseline the ratios are 1 and the verdict is kValid.
SystemResult summarise(const harness::Measurement& measurement, Side side, std::string name,
                       double band_low, double band_high);

/// "1.31x [1.27, 1.35]"; "1.31x (one run: no interval)".
std::string format_ratio(const Interval& ratio);

/// "search=my_search.h: valid, 1.31x [1.27, 1.35] the baseline's area"; for an invalid one its
/// outcome, stage and the telling line of the evidence.
std::string verdict_line(const SystemResult& system);

}  // namespace crinn::eval
