// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "crinn/eval/evaluation.h"

namespace crinn::eval {

/// A race in which the candidate is `gain` times as fast, on a curve that reaches recall 1.
inline harness::Measurement sample_race(double gain, int instances = 3) {
  harness::Measurement m;
  m.outcome = harness::Outcome::kValid;
  m.stage = harness::Stage::kDone;
  m.baseline_cost = {2.5, 4 << 20};
  m.candidate_cost = {3.5, 6 << 20};
  for (int i = 0; i < instances; ++i) {
    harness::RaceInstance instance;
    for (const int ef : {10, 20, 40, 80, 160}) {
      harness::RacePoint point;
      point.ef = ef;
      point.recall = ef == 160 ? 1 : 1 - 2.0 / ef;
      point.seconds_per_query = ef * 1e-6;
      point.p50_us = ef, point.p95_us = 2 * ef, point.p99_us = 3 * ef;
      point.distances_per_query = 20 * ef;
      instance.baseline.push_back(point);
      point.seconds_per_query /= gain * (1 + 0.002 * i);
      instance.candidate.push_back(point);
    }
    m.instances.push_back(instance);
  }
  return m;
}

/// The baseline, a valid candidate of 1.25 and one that does not compile.
inline Evaluation sample_evaluation() {
  Evaluation e;
  e.dataset = "tiny";
  e.metric = "euclidean";
  e.truth_source = "cpu";
  e.base_count = 1000, e.query_count = 2, e.dimension = 4, e.k = 3;
  e.instances = 3;
  e.layers = {"seccomp", "userns"};
  e.command = "crinn-eval --dataset tiny";
  e.systems.push_back(summarise(sample_race(1.25), Side::kBaseline, "baseline", 0.85, 0.95));
  e.systems.push_back(summarise(sample_race(1.25), Side::kCandidate, "search=a.h", 0.85, 0.95));
  harness::Measurement broken;
  broken.outcome = harness::Outcome::kDoesNotCompile;
  broken.stage = harness::Stage::kSyntax;
  broken.evidence = "In file included from unit.cpp:2:\na.h:1: error: <x>\nthird line";
  e.systems.push_back(summarise(broken, Side::kCandidate, "search=broken.h", 0.85, 0.95));
  e.systems.back().candidate = true;
  return e;
}

}  // namespace crinn::eval
