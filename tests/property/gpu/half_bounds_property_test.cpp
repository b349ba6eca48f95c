// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>

#include "../eval/knn_cases.h"
#include "crinn/ann/knn_half.h"
#include "crinn/ann/knn_rows.h"
#include "host_lanes.h"

namespace crinn::ann {
namespace {

TEST(KnnHalf, EveryFiniteValueComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7C00u) == 0x7C00u) continue;  // infinities, NaN
    EXPECT_EQ(half_bits(half_value(static_cast<uint16_t>(bits))), bits);
  }
}

TEST(KnnHalf, RoundsToTheNearestAndTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = half_value(static_cast<uint16_t>(bits));
    const float high = half_value(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    EXPECT_EQ(half_bits(middle), even);
    EXPECT_EQ(half_bits(std::nextafter(middle, low)), bits);
    EXPECT_EQ(half_bits(std::nextafter(middle, high)), bits + 1);
    EXPECT_EQ(half_bits(-middle), even | 0x8000u);
  }
  EXPECT_EQ(half_bits(65519.0f), 0x7BFF);
  EXPECT_EQ(half_bits(65520.0f), 0x7C00);
  EXPECT_EQ(half_bits(1e30f), 0x7C00);
  EXPECT_EQ(half_bits(1e-30f), 0);
  EXPECT_EQ(half_bits(-0.0f), 0x8000);
}

/// <q^, x^> as a tensor core sums it.
float product(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); i += 16) {
    float products[16] = {};
    for (std::size_t j = i; j < std::min(a.size(), i + 16); ++j) {
      products[j - i] = half_value(a[j]) * half_value(b[j]);
    }
    sum = gpu::tensor_core_sum(products, sum);
  }
  return sum;
}

/// The bounds of every row, shifted by its exact distance, must have a point in common: the
/// query's constant.
void check_bounds(const knn_cases::Case& input, Metric metric) {
  const KnnRows rows(input.base_view(), input.query_view(), metric, 1, KnnFormat::kFp16);
  const KnnCertificate certificate = KnnCertificate::fp16(metric, input.d);
  std::vector<uint16_t> query(static_cast<std::size_t>(input.d)), row(query.size());
  for (int64_t q = 0; q < input.nq; ++q) {
    const KnnQuery bounds = rows.query_row(q, certificate, query.data());
    if (std::isnan(bounds.slope)) continue;
    const double scales = rows.base_scale() * rows.query_scale(q);
    const double factor = metric == Metric::kInnerProduct ? scales : scales / 2;
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < input.n; ++i) {
      const KnnRow terms = rows.base_row(i, certificate, row.data());
      if (std::isnan(terms.low)) continue;
      const float acc = product(query, row);
      const double exact = factor * exact_distance(input.query_view().row(q),
                                                   input.base_view().row(i), input.d, metric);
      low = std::max(low, knn_lower(terms, bounds, acc) - bounds.slack - exact);
      high = std::min(high, knn_upper(terms, bounds, acc) + bounds.slack - exact);
    }
    EXPECT_LE(low, high) << "query " << q;
  }
}

TEST(KnnHalf, BoundsContainTheExactDistanceOfEveryPair) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
      check_bounds(input, metric);
    }
  }
}

}  // namespace
}  // namespace crinn::ann
