// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>

#include "../eval/knn_cases.h"
#include "crinn/ann/knn_frame.h"
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
  const KnnFrame frame =
      find_knn_frame({input.base_view()}, {input.query_view()}, metric, KnnFormat::kFp16, 1);
  KnnEncoder encoder = fp16_encoder(metric, input.d, frame);
  encoder.mean = frame.mean.data();
  std::vector<uint16_t> query(static_cast<std::size_t>(encoder.row_bytes / 2)), row(query.size());
  for (int64_t q = 0; q < input.nq; ++q) {
    const float* raw = input.query_view().row(q);
    const KnnQuery bounds =
        encoder.query_row(SerialGroup{}, raw, reinterpret_cast<uint8_t*>(query.data()));
    if (!is_held(bounds)) continue;
    // The norm decides between two powers of two: computed as the encoder does.
    const double length = std::sqrt(exact_dot(raw, raw, input.d));
    const double unit = metric != Metric::kCosine ? 1 : length > 0 ? 1 / length : 0;
    const double norm = std::sqrt(detail::lane_sum(input.d, [=](int64_t j, double acc) {
      return std::fma(raw[j] * unit, raw[j] * unit, acc);
    }));
    const double scales = encoder.scale * encoder.query_scale(norm);
    const double factor = metric == Metric::kInnerProduct ? scales : scales / 2;
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < input.n; ++i) {
      const KnnRow terms = encoder.base_row(SerialGroup{}, input.base_view().row(i),
                                            reinterpret_cast<uint8_t*>(row.data()));
      if (!is_held(terms)) continue;
      const float acc = product(query, row);
      const double exact = factor * exact_distance(raw, input.base_view().row(i), input.d, metric);
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
