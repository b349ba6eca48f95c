// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "crinn/harness/curve.h"
#include "crinn/harness/measurement.h"

namespace crinn::eval {

// The curve of a race's points.
using harness::area;
using harness::curve_of;
using harness::CurvePoint;
using harness::qps_at;
using harness::upper_envelope;

/// An estimate with a 95 % interval over instances (process pairs), never over slices: slices of
/// one process share its memory layout and are not independent.
struct Interval {
  double estimate = 0, low = 0, high = 0;
  /// One instance says nothing about the spread between instances: its interval is unbounded.
  bool bounded() const { return std::isfinite(low) && std::isfinite(high); }
};

/// Mean of one value an instance. 2 to 7 values: Student's t, since a bootstrap of so few is far
/// too narrow (two values: 50 % coverage). From 8 on: percentile bootstrap with the tail expanded
/// for its narrowness (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", 4.3). One
/// value: [-inf, inf]. `seed` draws the resamples. Throws Error (usage) on none.
Interval mean_interval(std::span<const double> values, uint64_t seed = 0);

/// Geometric mean of ratios from their logarithms: exp of mean_interval. One: [0, inf].
Interval ratio_interval(std::span<const double> log_ratios, uint64_t seed = 0);

/// The recalls at which QPS is quoted.
inline constexpr double kFixedRecalls[] = {0.90, 0.95, 0.99, 0.999};

struct Assessment {
  double reward = 0;   ///< log of the area ratio; at most kInvalidCeiling for invalid candidates
  Interval auc_ratio;  ///< candidate's area / baseline's area of the same race
  Interval baseline_auc, candidate_auc;
  std::vector<std::pair<double, Interval>>
      qps_ratio;  ///< at kFixedRecalls, where both reach it in every instance
};

/// Rewards of invalid candidates lie below every valid one's, ordered by how far they came: a valid
/// reward is clamped to >= kValidFloor; an invalid one is in [-6, kInvalidCeiling].
inline constexpr double kInvalidCeiling = -3.5;
inline constexpr double kValidFloor = -3.0;

/// An area ratio beyond this, either way, counts as this: one side hardly reaches the band.
inline constexpr double kLargestRatio = 1000;

/// By outcome, then by stage: no code < does not compile < wrong < over a cap.
double invalid_reward(harness::Outcome outcome, harness::Stage stage);

/// Areas, ratios and reward of a Measurement, over the band [low, high]. An invalid one has a
/// reward only, unless it was raced. Throws Error (data) for a valid one without a race.
Assessment assess(const harness::Measurement& measurement, double low = 0.85, double high = 0.95);

}  // namespace crinn::eval
