// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "sweep.h"

namespace crinn::harness {

struct RaceOptions {
  int instances = 2;
  double cpu_seconds = 6;        ///< both sides, all instances
  double slice_seconds = 0.005;  ///< target of one timed slice
  int core = -1;
  uint64_t seed = 0;
  double prepare_deadline_seconds = 600;
  bool keep_answers = false;                            ///< RacePoint::ids of the first instance
  bool check_repeats = true, check_hidden_work = true;  ///< off only in tests of these defences
  /// After the first instance the race ends when the ratio of areas over [band_low, band_high] is
  /// below this: such a candidate needs no finer figure.
  double give_up_below = 0, band_low = 0.85, band_high = 0.95;
};

struct RaceSide {
  System system;
  std::vector<SweepPoint> points;
  std::optional<Runner> prepared = std::nullopt;  ///< serves the first of several instances
};

struct RaceResult {
  std::vector<RaceInstance> instances;
  NoiseGrade noise = NoiseGrade::kQuiet;
  int64_t candidate_private_bytes = 0;  ///< the most after any instance
  double dropped_fraction = 0;          ///< slices in which the process did not have its core
};

/// Which side failed, and how.
struct RaceFailure {
  bool candidate = true;
  Failure failure;
};

/// Races the two sides: fresh processes per instance; points of both in random pairs; within a pair
/// slices A B B A (or B A A B) of the same length in time, the slower side on the first of the
/// other one's fresh queries, each after an untimed batch. CPU time is the worker's, read here.
/// Recall is that of the timed results.
tl::expected<RaceResult, RaceFailure> race(RaceSide baseline, RaceSide candidate,
                                           const Scene& scene, const RaceOptions& options);

}  // namespace crinn::harness
