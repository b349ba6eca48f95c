// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "runner.h"

namespace crinn::harness {

struct SweepOptions {
  double low = 0.80, high = 0.98;  ///< the recall band to fill
  int min_points = 8;
  double top_recall = 0.99;  ///< how far up to look
  int max_ef = 4096;
  int queries = 250;
  double cpu_seconds = 40;  ///< for all of it; more is kTimedOut
};

struct SweepPoint {
  int ef = 0;
  double recall = 0;
  double seconds_per_query = 0;
};

/// Recall and rough cost by ef.
struct Sweep {
  std::vector<SweepPoint> points;  ///< by ef, ascending
  double best_recall = 0;
  /// CPU seconds that the first batch cost more than a later one: work that was put off.
  double lazy_seconds = 0;
  double steady_seconds = 0;  ///< of that later batch
};

/// Geometric steps of ef from k until the recall aimed at is reached or no longer grows, then
/// bisection of the largest gaps in recall until the band holds enough points.
Expected<Sweep> sweep(Runner& runner, const Scene& scene, const SweepOptions& options,
                      uint64_t seed);

/// Which points to race: those in the band, thinned evenly to `min_points`, and the nearest one on
/// either side.
std::vector<SweepPoint> race_points(const Sweep& sweep, const SweepOptions& options);

}  // namespace crinn::harness
