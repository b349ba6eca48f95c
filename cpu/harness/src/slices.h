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
  std::vector<float> latency;
};

/// Robust cost and recall over the slices of a point.
RacePoint summarize(const PointState& point, const Scene& scene);

/// Mean of the middle 60 %.
double trimmed_mean(std::vector<double> values);

}  // namespace crinn::harness
