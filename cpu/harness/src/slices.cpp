// SPDX-License-Identifier: Apache-2.0
#include "slices.h"

#include <algorithm>

namespace crinn::harness {

double trimmed_mean(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t cut = values.size() / 5;
  double sum = 0;
  for (std::size_t i = cut; i < values.size() - cut; ++i) sum += values[i];
  return sum / static_cast<double>(values.size() - 2 * cut);
}

RacePoint summarize(const PointState& at, const Scene& scene) {
  RacePoint point;
  point.ef = at.ef;
  point.slices = static_cast<int64_t>(at.slices.size());
  std::vector<double> quiet, all;
  int64_t queries = 0;
  double found = 0, distances = 0;
  for (const Slice& slice : at.slices) {
    const auto count = static_cast<double>(slice.queries.size());
    const double seconds = slice.result.cpu_seconds / count;
    all.push_back(seconds);
    if (!slice.disturbed) quiet.push_back(seconds);
    found += recall(scene, slice.queries, slice.result) * count;
    distances += static_cast<double>(slice.result.distances);
    queries += static_cast<int64_t>(slice.queries.size());
  }
  point.recall = found / static_cast<double>(queries);
  point.distances_per_query = distances / static_cast<double>(queries);
  point.seconds_per_query = trimmed_mean(quiet.size() * 2 >= all.size() ? quiet : all);
  std::vector<float> latency = at.latency;
  std::sort(latency.begin(), latency.end());
  const auto percentile = [&](double p) {
    if (latency.empty()) return 0.0;
    const auto at_index = static_cast<std::size_t>(p * static_cast<double>(latency.size() - 1));
    return static_cast<double>(latency[at_index]);
  };
  point.p50_us = percentile(0.50);
  point.p95_us = percentile(0.95);
  point.p99_us = percentile(0.99);
  return point;
}

}  // namespace crinn::harness
