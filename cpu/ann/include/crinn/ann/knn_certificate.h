// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/metric.h"

/// Bounds that make a pass of low precision exact. Exact k-NN reads every pair once in that
/// precision, keeps each row whose lower bound is not above the k-th smallest upper bound, and
/// ranks the survivors by exact_distance: every true neighbour and every tie at rank k is among
/// them.
///
/// With mu the mean of the base (of its unit rows under kCosine), x~ = s (x - mu) and q~ = 2 s (q -
/// mu) for kL2, q~ = s' q otherwise, the ranking of a query is that of
///   g(x) = |x~|^2 - <q~, x~>  (kL2)      g(x) = -<q~, x~>  (kInnerProduct, kCosine):
/// what else the distance consists of is constant for the query. s and s' are powers of two. The
/// pass sees rounded rows x^ and q^, whose residuals have the norms r = |x~ - x^| and t = |q~ -
/// q^|, and computes acc, which differs from <q^, x^> by at most gamma |q^| |x^|. Then
///   |<q~, x~> - acc| <= |q~| r + t |x^| + gamma |q^| |x^|
///                    <= (1 + gamma) (|q~| + t) r + (t + gamma (|q~| + t)) |x~|:
/// one product of a query's term with the row's residual, one with the row's norm. With u = 2^-24,
/// |x~|^2 in fp32 costs u of itself and the bounds' own evaluation less than 3u of |q~| |x~| and of
/// |x~|^2, which c1 = gamma + 8u and c2 = 8u cover.
///
/// fp32 (a CPU, or cuBLAS): s puts the largest norm near 2^60, so that nothing overflows whatever
/// the data's magnitude. gamma = chain u / (1 - chain u), where a product passes at most `chain`
/// additions in any order (Higham 2002, section 3.1). Rounding q~ and x~ costs 2u |q~| |x~|, which
/// c1 covers: residuals count as zero.
///
/// fp16 (tensor cores): s puts the median norm near 2^8; a row with an element beyond fp16's range
/// is not in the pass at all (its terms are NaN) and is compared exactly with every query. Products
/// of fp16 are exact in fp32. A tensor core aligns a group of products and the running sum to the
/// largest of them, cuts below 2^-23 of it, and cuts the sum likewise (Fasi, Higham, Mikaitis,
/// Pranesh 2021, for groups of 4, 8 and more); 16 products in one group or in two cost at most 20
/// cuts. We allow 24: gamma = 24 2^-23 a group of 16, more than d roundings of an fp32 loop.
///
/// exact_distance itself is rounded, by e = (d/8 + 16) 2^-53 of |q||x|, or of |q~|^2 + |x~|^2 for
/// kL2; that is part of the bounds too, as the truth is defined by its computed values. Products
/// below the normal range are covered by a constant.
namespace crinn::ann {

/// |x~| and |q~| stay below 2^61.
inline constexpr int kKnnTopExponent = 60;

/// Where the median norm comes to lie in fp16: a row has 2^7 of room above it, and 2^22 below
/// before its elements lose precision.
inline constexpr int kKnnHalfExponent = 8;

/// The power of two that brings a norm to [2^(exponent - 1), 2^exponent].
CRINN_HOST_DEVICE inline double knn_scale(double norm, int exponent = kKnnTopExponent) {
  if (!(norm > 0)) return 1;
  return std::ldexp(1.0, exponent - 1 - std::ilogb(norm));
}

/// The least fp32 that is not below value.
CRINN_HOST_DEVICE inline float knn_round_up(double value) {
  const auto rounded = static_cast<float>(value);
  return static_cast<double>(rounded) < value ? nextafterf(rounded, FLT_MAX) : rounded;
}

/// One element of x~ or q~, where unit is 1, or 1 / |x| under kCosine. Values below the normal
/// range become zero, because an fp32 unit may treat them so anyway.
CRINN_HOST_DEVICE inline float knn_element(float x, double unit, double mean, double scale) {
  const auto value = static_cast<float>((static_cast<double>(x) * unit - mean) * scale);
  return value > -FLT_MIN && value < FLT_MIN ? 0.0f : value;
}

/// What the bounds of a row need: g lies within slope weight + reach residual of low - acc and
/// high - acc. low = NaN: the pass does not hold the row. Aligned: one load on a device.
struct alignas(16) KnnRow {
  float low, high, weight, residual;
};

/// `slack` widens a threshold; see knn_threshold().
struct KnnQuery {
  float slope, reach;
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
  /// Of an fp32 pass. chain < 2^23.
  KnnCertificate(Metric metric, int64_t d, int64_t chain)
      : KnnCertificate(gamma_of(static_cast<double>(chain)), metric, d) {}
  /// Of an fp16 pass of tensor cores. d <= 2^20.
  static KnnCertificate fp16(Metric metric, int64_t d) {
    const int64_t groups = (d + 15) / 16;
    return KnnCertificate(static_cast<double>(groups) * 24 * 0x1p-23, metric, d);
  }

  /// norm = |x~|, raw_norm = s |x| (s under kCosine), residual = |x~ - x^|.
  CRINN_HOST_DEVICE KnnRow row(double norm, double raw_norm, double residual = 0) const {
    if (metric == Metric::kL2) {
      const double square = norm * norm;
      return {static_cast<float>((1 - c2) * square), static_cast<float>((1 + c2) * square),
              static_cast<float>(norm + tiny_norm), knn_round_up(residual)};
    }
    // e |q||x| of the uncentred vectors rides on the weight: slope weight = c1 |q~| |x~| + e
    // |q||x|.
    return {0.0f, 0.0f, static_cast<float>(norm + tiny_norm + exact_error / c1 * raw_norm),
            knn_round_up(residual)};
  }

  /// norm = |q~|, residual = |q~ - q^|.
  CRINN_HOST_DEVICE KnnQuery query(double norm, double residual = 0) const {
    // 2^-20: roundings of the residuals' products.
    const double both = norm + residual + tiny_norm;
    const double slack = metric == Metric::kL2 ? exact_error * norm * norm + tiny : tiny;
    return {static_cast<float>(residual * (1 + 0x1p-20) + c1 * both),
            static_cast<float>((1 + c1) * (1 + 0x1p-20) * both), slack};
  }

 private:
  static double gamma_of(double chain) { return chain * 0x1p-24 / (1 - chain * 0x1p-24); }
  KnnCertificate(double gamma, Metric metric, int64_t d) : metric(metric) {
    const double u = 0x1p-24;
    c1 = 1.01 * (gamma + 8 * u);
    c2 = 1.01 * 8 * u;
    exact_error = (static_cast<double>(d) / 8 + 16) * 0x1p-53 * 4;
    tiny_norm = std::sqrt(static_cast<double>(d)) * 0x1p-100;
    tiny = (static_cast<double>(d) + 8) * 0x1p-125;
  }
};

CRINN_HOST_DEVICE inline float knn_lower(KnnRow row, KnnQuery query, float acc) {
  return ((row.low - acc) - query.slope * row.weight) - query.reach * row.residual;
}

CRINN_HOST_DEVICE inline float knn_upper(KnnRow row, KnnQuery query, float acc) {
  return ((row.high - acc) + query.slope * row.weight) + query.reach * row.residual;
}

/// A row survives when its lower bound is <= this.
CRINN_HOST_DEVICE inline float knn_threshold(float kth_upper, KnnQuery query) {
  return knn_round_up(static_cast<double>(kth_upper) + 2 * query.slack);
}

}  // namespace crinn::ann
