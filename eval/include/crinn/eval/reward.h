// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "crinn/harness/measurement.h"

namespace crinn::eval {

struct CurvePoint {
  double recall = 0;
  double qps = 0;
};

/// The Pareto front: recall ascending, QPS descending, every dominated point removed.
std::vector<CurvePoint> upper_envelope(std::span<const CurvePoint> points);

/// QPS at a recall, linear in recall between points of the envelope; the first point's QPS to its
/// left; 0 beyond the highest recall.
double qps_at(std::span<const CurvePoint> envelope, double recall);

/// Area under the envelope over [low, high] by trapezoids (QPS x recall).
double area(std::span<const CurvePoint> envelope, double low, double high);

/// An estimate with a 95 % interval: bootstrap over instances (process pairs), never over slices.
struct Interval {
  double estimate = 0, low = 0, high = 0;
};

struct Assessment {
  double reward = 0;   ///< log of the area ratio; below kInvalidCeiling for invalid candidates
  Interval auc_ratio;  ///< candidate's area / baseline's area of the same race
  Interval baseline_auc, candidate_auc;
  std::vector<std::pair<double, Interval>>
      qps_ratio;  ///< at recall .90 .95 .99 .999, where both reach it
};

/// Rewards of invalid candidates lie below every valid one's, ordered by how far they came: a valid
/// reward is clamped to >= -3; an invalid one is in [-6, -3.5].
inline constexpr double kInvalidCeiling = -3.5;
inline constexpr double kValidFloor = -3.0;

/// Areas, ratios and reward of a Measurement, over the band [low, high].
Assessment assess(const harness::Measurement& measurement, double low = 0.85, double high = 0.95);

}  // namespace crinn::eval
