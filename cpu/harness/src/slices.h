// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "runner.h"

namespace crinn::harness {

/// One timed batch.
struct Slice {
  std::vector<int64_t> queries;
  BatchResult result;
  bool disturbed = false;  ///< the process did not have its core all the time
};

/// One ef of one side during a race.
struct PointState {
  int ef = 0;
  double estimate = 0;  ///< seconds a query
  std::vector<Slice> slices;
  int64_t queries = 0;     ///< of all batches, timed or not
  double cpu_seconds = 0;  ///< theirs
  std::vector<float> latency;
};

/// Robust CPU seconds a query over all slices of a point.
double seconds_per_query(const PointState& point);

/// Robust cost and recall over the slices of a point.
RacePoint summarize(const PointState& point, const Scene& scene);

/// Drops the points below a wide gap in recall: no line is drawn across it. A module that answers
/// nothing below some effort would draw it from (recall 0, infinite QPS).
void drop_below_gap(std::vector<RacePoint>& points);

/// Mean of the middle 60 %.
double trimmed_mean(const std::vector<double>& values);

}  // namespace crinn::harness
