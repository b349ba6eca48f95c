// SPDX-License-Identifier: Apache-2.0
#include "crinn/harness/curve.h"

#include <algorithm>
#include <cmath>

namespace crinn::harness {

std::vector<CurvePoint> curve_of(std::span<const RacePoint> points) {
  std::vector<CurvePoint> curve;
  curve.reserve(points.size());
  for (const RacePoint& point : points) {
    const double qps = 1.0 / point.seconds_per_query;
    if (!(point.seconds_per_query > 0) || !(qps > 0) || !std::isfinite(qps)) continue;
    if (!(point.recall >= 0 && point.recall <= 1)) continue;
    curve.push_back({point.recall, qps});
  }
  return curve;
}

std::vector<CurvePoint> upper_envelope(std::span<const CurvePoint> points) {
  std::vector<CurvePoint> sorted(points.begin(), points.end());
  std::sort(sorted.begin(), sorted.end(), [](const CurvePoint& a, const CurvePoint& b) {
    return a.recall != b.recall ? a.recall > b.recall : a.qps > b.qps;
  });
  std::vector<CurvePoint> front;
  for (const CurvePoint& point : sorted) {
    if (front.empty() || point.qps > front.back().qps) front.push_back(point);
  }
  std::reverse(front.begin(), front.end());
  return front;
}

double qps_at(std::span<const CurvePoint> envelope, double recall) {
  if (envelope.empty() || recall > envelope.back().recall) return 0;
  if (recall <= envelope.front().recall) return envelope.front().qps;
  const auto right =
      std::lower_bound(envelope.begin(), envelope.end(), recall,
                       [](const CurvePoint& point, double value) { return point.recall < value; });
  const CurvePoint &a = *(right - 1), &b = *right;
  const double t = (recall - a.recall) / (b.recall - a.recall);
  return a.qps + t * (b.qps - a.qps);
}

double area(std::span<const CurvePoint> envelope, double low, double high) {
  if (envelope.empty() || !(high > low)) return 0;
  const double end = std::min(high, envelope.back().recall);
  double sum = 0, from = low, qps_from = qps_at(envelope, low);
  const auto add_until = [&](double to, double qps_to) {
    sum += (to - from) * (qps_from + qps_to) / 2;
    from = to, qps_from = qps_to;
  };
  for (const CurvePoint& point : envelope) {
    if (point.recall > from && point.recall < end) add_until(point.recall, point.qps);
  }
  if (end > from) add_until(end, qps_at(envelope, end));
  return sum;
}

double area_ratio(const RaceInstance& instance, double low, double high) {
  const double baseline = area(upper_envelope(curve_of(instance.baseline)), low, high);
  const double candidate = area(upper_envelope(curve_of(instance.candidate)), low, high);
  return baseline > 0 ? candidate / baseline : 0;
}

}  // namespace crinn::harness
