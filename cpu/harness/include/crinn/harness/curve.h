// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "crinn/harness/measurement.h"

namespace crinn::harness {

struct CurvePoint {
  double recall = 0;
  double qps = 0;
};

/// The points of one system in one instance: QPS = 1 / CPU seconds a query. Points without a usable
/// time or recall are left out.
std::vector<CurvePoint> curve_of(std::span<const RacePoint> points);

/// The Pareto front: recall ascending, QPS strictly descending, every dominated point removed.
std::vector<CurvePoint> upper_envelope(std::span<const CurvePoint> points);

/// QPS at a recall, linear in recall between points of the envelope; the first point's QPS to its
/// left; 0 beyond the highest recall.
double qps_at(std::span<const CurvePoint> envelope, double recall);

/// Area under the envelope over [low, high] by trapezoids (QPS x recall), clipped exactly at the
/// band's edges.
double area(std::span<const CurvePoint> envelope, double low, double high);

/// The candidate's area over [low, high] in one instance / the baseline's; 0 where either is
/// nothing.
double area_ratio(const RaceInstance& instance, double low, double high);

}  // namespace crinn::harness
