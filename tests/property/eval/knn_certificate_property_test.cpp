// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "crinn/ann/knn_certificate.h"
#include "knn_cases.h"

namespace crinn::ann {
namespace {

/// Compares the bounds of every pair with the exact distance, both less the query's constant: the
/// difference of two rows is what ranking sees.
void check_bounds(const knn_cases::Case& input, Metric metric) {
  const int64_t d = input.d;
  const auto dimensions = static_cast<std::size_t>(d);
  const auto unit = [&](const float* x) {
    if (metric != Metric::kCosine) return 1.0;
    const double norm = std::sqrt(exact_dot(x, x, d));
    return norm > 0 ? 1 / norm : 0.0;
  };
  std::vector<double> mean(dimensions), zero(dimensions);
  for (int64_t i = 0; i < input.n; ++i) {
    const float* x = input.base_view().row(i);
    const double factor = unit(x) / static_cast<double>(input.n);
    for (std::size_t j = 0; j < dimensions; ++j) mean[j] += x[j] * factor;
  }
  const std::vector<double>& query_mean = metric == Metric::kL2 ? mean : zero;
  const auto norm = [&](const float* x, const std::vector<double>& centre) {
    const double factor = unit(x);
    double sum = 0;
    for (std::size_t j = 0; j < dimensions; ++j) {
      const double value = x[j] * factor - centre[j];
      sum += value * value;
    }
    return std::sqrt(sum);
  };
  double base_top = 0, query_top = 0;
  for (int64_t i = 0; i < input.n; ++i) {
    base_top = std::max(base_top, norm(input.base_view().row(i), mean));
  }
  for (int64_t q = 0; q < input.nq; ++q) {
    query_top = std::max(query_top, norm(input.query_view().row(q), query_mean));
  }
  const bool l2 = metric == Metric::kL2;
  const double base_scale = knn_scale(l2 ? std::max(base_top, query_top) : base_top);
  const double query_scale = l2 ? 2 * base_scale : knn_scale(query_top);
  const KnnCertificate certificate(metric, d, d + 1);
  // g = factor * distance - constant of the query.
  const double factor =
      l2 ? base_scale * base_scale : base_scale * query_scale / (metric == Metric::kCosine ? 2 : 1);
  for (int64_t q = 0; q < input.nq; ++q) {
    const float* query = input.query_view().row(q);
    const double query_unit = unit(query);
    const KnnQuery bounds = certificate.query(norm(query, query_mean) * query_scale);
    // Intervals of all rows, shifted by the exact distance, must have a point in common.
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < input.n; ++i) {
      const float* x = input.base_view().row(i);
      const double base_unit = unit(x);
      float acc = 0;
      for (std::size_t j = 0; j < dimensions; ++j) {
        acc = std::fma(knn_element(query[j], query_unit, query_mean[j], query_scale),
                       knn_element(x[j], base_unit, mean[j], base_scale), acc);
      }
      const double raw = metric == Metric::kCosine ? 1 : std::sqrt(exact_dot(x, x, d));
      const KnnRow row = certificate.row(norm(x, mean) * base_scale, raw * base_scale);
      const double exact = factor * exact_distance(query, x, d, metric);
      low = std::max(low, knn_lower(row, bounds, acc) - bounds.slack - exact);
      high = std::min(high, knn_upper(row, bounds, acc) + bounds.slack - exact);
    }
    EXPECT_LE(low, high) << "query " << q;
  }
}

TEST(KnnCertificate, ContainsTheExactDistanceOfEveryPair) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
      check_bounds(input, metric);
    }
  }
}

TEST(KnnCertificate, ScalesTheLargestNormBelowTheTop) {
  for (const double norm : {1e-44, 1.0, 0.999, 2.0, 3e5, 6.8e38}) {
    const double scaled = norm * knn_scale(norm);
    EXPECT_GE(scaled, 0x1p59) << norm;
    EXPECT_LE(scaled, 0x1p60) << norm;
  }
  EXPECT_EQ(knn_scale(0), 1);
}

TEST(KnnCertificate, RoundsAThresholdUp) {
  const KnnQuery query{1.0f, 1.0f, 1.0};
  EXPECT_GE(static_cast<double>(knn_threshold(0x1p60f, query)), 0x1p60 + 2);
  EXPECT_EQ(knn_threshold(std::numeric_limits<float>::infinity(), query),
            std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace crinn::ann
