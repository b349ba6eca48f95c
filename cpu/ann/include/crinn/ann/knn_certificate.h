// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/metric.h"

/// Bounds that make an fp32 pass exact. Exact k-NN reads every pair once in fp32, keeps each row
/// whose lower bound is not above the k-th smallest upper bound, and ranks the survivors by
/// exact_distance: every true neighbour and every tie at rank k is among them.
///
/// With mu the mean of the base (of its unit rows under kCosine), x~ = s (x - mu) and q~ = 2 s (q -
/// mu) for kL2, q~ = s' q otherwise, the ranking of a query is that of
///   g(x) = |x~|^2 - <q~, x~>  (kL2)      g(x) = -<q~, x~>  (kInnerProduct, kCosine):
/// what else the distance consists of is constant for the query. The powers of two s and s' put
/// the largest norm near 2^60, so that nothing overflows whatever the data's magnitude. Let acc be
/// <fp32(q~), fp32(x~)> summed in fp32 in any order with at most `chain` roundings on the way of
/// one product, and u = 2^-24. Then |g - (|x~|^2 - acc)| <= c1 |q~| |x~| + c2 |x~|^2 with
///   c1 = gamma + 8u,  gamma = chain u / (1 - chain u)  (Higham 2002, section 3.1),  c2 = 8u:
/// rounding q~ and x~ costs 2u |q~| |x~|, |x~|^2 in fp32 costs u, and evaluating the bounds in fp32
/// costs less than 3u of both terms. exact_distance itself is rounded, by e = (d/8 + 16) 2^-53 of
/// |q||x|, or of |q~|^2 + |x~|^2 for kL2; that is part of the bounds too, as the truth is defined
/// by its computed values. Products below the normal range are covered by a constant.
namespace crinn::ann {

/// |x~| and |q~| stay below 2^61.
inline constexpr int kKnnTopExponent = 60;

/// The power of two that brings a largest norm to [2^59, 2^60].
inline double knn_scale(double largest_norm) {
  if (!(largest_norm > 0)) return 1;
  return std::ldexp(1.0, kKnnTopExponent - 1 - std::ilogb(largest_norm));
}

/// One element of x~ or q~, where unit is 1, or 1 / |x| under kCosine. Values below the normal
/// range become zero, because an fp32 unit may treat them so anyway.
CRINN_HOST_DEVICE inline float knn_element(float x, double unit, double mean, double scale) {
  const auto value = static_cast<float>((static_cast<double>(x) * unit - mean) * scale);
  return value > -FLT_MIN && value < FLT_MIN ? 0.0f : value;
}

/// What the bounds of a row need: g lies in [low - acc - slope weight, high - acc + slope weight].
struct KnnRow {
  float low, high, weight;
};

/// `slack` widens a threshold; see threshold().
struct KnnQuery {
  float slope;
  double slack;
};

/// Constants of one search.
struct KnnCertificate {
  Metric metric = Metric::kL2;
  double c1 = 0, c2 = 0;
  double exact_error = 0;  ///< e above
  double tiny_norm = 0;    ///< covers elements that knn_element() made zero
  double tiny = 0;         ///< covers products below the normal range

  KnnCertificate() = default;
  /// chain < 2^23.
  KnnCertificate(Metric metric, int64_t d, int64_t chain) : metric(metric) {
    const double u = 0x1p-24;
    const double length = static_cast<double>(chain);
    c1 = 1.01 * (length * u / (1 - length * u) + 8 * u);
    c2 = 1.01 * 8 * u;
    exact_error = (static_cast<double>(d) / 8 + 16) * 0x1p-53 * 4;
    tiny_norm = std::sqrt(static_cast<double>(d)) * 0x1p-100;
    tiny = (static_cast<double>(d) + 8) * 0x1p-125;
  }

  /// norm = |x~|, raw_norm = s |x| (s under kCosine).
  CRINN_HOST_DEVICE KnnRow row(double norm, double raw_norm) const {
    if (metric == Metric::kL2) {
      const double square = norm * norm;
      return {static_cast<float>((1 - c2) * square), static_cast<float>((1 + c2) * square),
              static_cast<float>(norm + tiny_norm)};
    }
    // e |q||x| of the uncentred vectors rides on the weight: slope weight = c1 |q~| |x~| + e
    // |q||x|.
    return {0.0f, 0.0f, static_cast<float>(norm + tiny_norm + exact_error / c1 * raw_norm)};
  }

  /// norm = |q~|.
  CRINN_HOST_DEVICE KnnQuery query(double norm) const {
    const double slack = metric == Metric::kL2 ? exact_error * norm * norm + tiny : tiny;
    return {static_cast<float>(c1 * (norm + tiny_norm)), slack};
  }
};

CRINN_HOST_DEVICE inline float knn_lower(KnnRow row, KnnQuery query, float acc) {
  return (row.low - acc) - query.slope * row.weight;
}

CRINN_HOST_DEVICE inline float knn_upper(KnnRow row, KnnQuery query, float acc) {
  return (row.high - acc) + query.slope * row.weight;
}

/// A row survives when its lower bound is <= this.
CRINN_HOST_DEVICE inline float knn_threshold(float kth_upper, KnnQuery query) {
  const double exact = static_cast<double>(kth_upper) + 2 * query.slack;
  const auto rounded = static_cast<float>(exact);
  return static_cast<double>(rounded) < exact ? nextafterf(rounded, FLT_MAX) : rounded;
}

}  // namespace crinn::ann
