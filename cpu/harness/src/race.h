// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "sweep.h"

namespace crinn::harness {

struct RaceOptions {
  int instances = 2;
  double cpu_seconds = 6;        ///< both sides, all instances
  double slice_seconds = 0.003;  ///< target of one timed slice
  int core = -1;
  uint64_t seed = 0;
  double prepare_deadline_seconds = 600;
  bool keep_answers = false;  ///< RacePoint::ids of the first instance
  bool check_repeats = true;  ///< off only in tests of this very defence
};

struct RaceSide {
  System system;
  std::vector<SweepPoint> points;
};

struct RaceResult {
  std::vector<RaceInstance> instances;
  NoiseGrade noise = NoiseGrade::kQuiet;
  double dropped_fraction = 0;  ///< slices in which the process did not have its core
};

/// Which side failed, and how.
struct RaceFailure {
  bool candidate = true;
  Failure failure;
};

/// Races the two sides: fresh processes per instance; blocks of points in random order; within a
/// point slices A B B A (or B A A B) on the same fresh queries, each after an untimed batch. CPU
/// time is the worker's, read here. Recall is that of the timed results.
tl::expected<RaceResult, RaceFailure> race(const RaceSide& baseline, const RaceSide& candidate,
                                           const Scene& scene, const RaceOptions& options);

}  // namespace crinn::harness
