// SPDX-License-Identifier: Apache-2.0
#include "slices.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace crinn::harness {

namespace {

/// Places in the order of their values without the lowest and the highest fifth.
std::vector<std::size_t> middle(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  const auto cut = static_cast<std::ptrdiff_t>(values.size() / 5);
  return {order.begin() + cut, order.end() - cut};
}

double mean_of(const std::vector<double>& values, const std::vector<std::size_t>& places) {
  double sum = 0;
  for (const std::size_t i : places) sum += values[i];
  return sum / static_cast<double>(places.size());
}

double cost(const Slice& slice) {
  return slice.result.cpu_seconds / static_cast<double>(slice.queries.size());
}

}  // namespace

double trimmed_mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return mean_of(values, middle(values));
}

double seconds_per_query(const PointState& point) {
  std::vector<double> seconds;
  for (const Slice& slice : point.slices) seconds.push_back(cost(slice));
  return trimmed_mean(seconds);
}

RacePoint summarize(const PointState& at, const Scene& scene) {
  RacePoint point;
  point.ef = at.ef;
  point.slices = static_cast<int64_t>(at.slices.size());
  const auto quiet = std::count_if(at.slices.begin(), at.slices.end(),
                                   [](const Slice& slice) { return !slice.disturbed; });
  const bool all = quiet * 2 < point.slices;
  std::vector<const Slice*> usable;
  std::vector<double> seconds;
  for (const Slice& slice : at.slices) {
    if (slice.disturbed && !all) continue;
    usable.push_back(&slice);
    seconds.push_back(cost(slice));
  }
  // Recall is that of the very slices whose time counts, each with the same weight as its time:
  // effort spent on others, or on long ones, buys nothing.
  double found = 0, distances = 0;
  const std::vector<std::size_t> counted = middle(seconds);
  for (const std::size_t i : counted) {
    const Slice& slice = *usable[i];
    const auto count = static_cast<double>(slice.queries.size());
    found += recall(scene, slice.queries, slice.result);
    distances += static_cast<double>(slice.result.distances) / count;
  }
  const auto slices = static_cast<double>(counted.size());
  point.recall = found / slices;
  point.distances_per_query = distances / slices;
  point.seconds_per_query = mean_of(seconds, counted);
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

void drop_below_gap(std::vector<RacePoint>& points) {
  constexpr double kWidestGap = 0.08;  // the sweep leaves at most half of it inside the band
  std::vector<double> recalls;
  for (const RacePoint& point : points) recalls.push_back(point.recall);
  std::sort(recalls.begin(), recalls.end(), std::greater<>());
  const auto gap = std::adjacent_find(recalls.begin(), recalls.end(), [](double high, double low) {
    return high - low > kWidestGap;
  });
  if (gap == recalls.end()) return;
  const double lowest = *gap;
  std::erase_if(points, [&](const RacePoint& point) { return point.recall < lowest; });
}

}  // namespace crinn::harness
