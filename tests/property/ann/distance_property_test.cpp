// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/distance.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "kernel_cases.h"

namespace crinn::ann {
namespace {

float convert(float x, float) { return x; }
Fp16 convert(float x, Fp16) { return to_fp16(x); }
Bf16 convert(float x, Bf16) { return to_bf16(x); }
uint8_t convert(float x, uint8_t) {
  return static_cast<uint8_t>(std::fabs(x) < 255 ? std::fabs(x) : 255.0f);
}

template <class T>
class RowKernels : public testing::Test {};
using RowTypes = testing::Types<float, Fp16, Bf16, uint8_t>;
TYPED_TEST_SUITE(RowKernels, RowTypes);

TYPED_TEST(RowKernels, AgreeWithTheScalarTwinAndFp64) {
  Rng rng(1);
  for (const Values values : kAllValues) {
    for (const int64_t d : odd_sizes()) {
      for (const int64_t offset : {0, 1, 5}) {
        std::vector<float> q(static_cast<std::size_t>(d + offset));
        std::vector<TypeParam> x(static_cast<std::size_t>(d + offset));
        double l2_true = 0, dot_true = 0, l2_size = 0, dot_size = 0;
        for (int64_t i = 0; i < d; ++i) {
          q[offset + i] = draw(values, rng);
          x[offset + i] = convert(draw(values, rng), TypeParam{});
          const auto a = static_cast<double>(q[offset + i]);
          const auto b = static_cast<double>(to_float(x[offset + i]));
          l2_true += (a - b) * (a - b);
          dot_true += a * b;
          l2_size += (a - b) * (a - b);
          dot_size += std::fabs(a * b);
        }
        const double epsilon =
            static_cast<double>(std::numeric_limits<float>::epsilon()) * (8 + std::sqrt(d));
        const double floor = 1e-43 * static_cast<double>(d + 1);  // products of denormals vanish
        const float* query = q.data() + offset;
        const TypeParam* row = x.data() + offset;
        EXPECT_NEAR(l2(query, row, d), l2_true, l2_size * epsilon + floor) << d << " " << offset;
        EXPECT_NEAR(dot(query, row, d), dot_true, dot_size * epsilon + floor) << d << " " << offset;
        EXPECT_NEAR(scalar::l2(query, row, d), l2_true, 4 * l2_size * epsilon + floor) << d;
        EXPECT_NEAR(scalar::dot(query, row, d), dot_true, 4 * dot_size * epsilon + floor) << d;
        EXPECT_EQ(distance<Metric::kInnerProduct>(query, row, d), -dot(query, row, d));
        EXPECT_EQ(distance(Metric::kCosine, query, row, d), l2(query, row, d));
      }
    }
  }
}

TYPED_TEST(RowKernels, ReadNothingBeyondTheRow) {
  // What lies behind a row must not matter, whatever it is.
  for (const int64_t d : odd_sizes()) {
    std::vector<float> q(static_cast<std::size_t>(d + 64), std::numeric_limits<float>::quiet_NaN());
    std::vector<TypeParam> x(
        static_cast<std::size_t>(d + 64),
        std::bit_cast<TypeParam>(
            static_cast<
                std::conditional_t<sizeof(TypeParam) == 4, uint32_t,
                                   std::conditional_t<sizeof(TypeParam) == 2, uint16_t, uint8_t>>>(
                ~0u)));
    for (int64_t i = 0; i < d; ++i) {
      q[i] = 1;
      x[i] = convert(3.0f, TypeParam{});
    }
    EXPECT_EQ(l2(q.data(), x.data(), d), 4.0f * static_cast<float>(d));
    EXPECT_EQ(dot(q.data(), x.data(), d), 3.0f * static_cast<float>(d));
  }
}

TEST(OneToMany, EqualsOneByOne) {
  const Matrix base = random_matrix(50, 33, 3);
  const Matrix query = random_matrix(1, 33, 4);
  Rng rng(5);
  for (const int count : {0, 1, 3, 4, 5, 17}) {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(rng.below(50)));
    std::vector<float> out(static_cast<std::size_t>(count));
    distances(Metric::kL2, query.row(0), base.values.data(), 33, 33, ids.data(), count, out.data());
    for (int i = 0; i < count; ++i) EXPECT_EQ(out[i], l2(query.row(0), base.row(ids[i]), 33));
  }
}

TEST(Half, AllFp16ValuesSurviveARoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Fp16 half{static_cast<uint16_t>(bits)};
    const float value = scalar::widen(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(half)));
      continue;
    }
    EXPECT_EQ(value, to_float(half)) << bits;
    EXPECT_EQ(scalar::narrow(value).bits, bits);
    if (std::isfinite(value)) {
      EXPECT_EQ(to_fp16(value).bits, bits);
    }
  }
}

TEST(Half, RoundsToNearestEvenLikeTheHardware) {
  Rng rng(2);
  for (int i = 0; i < 100000; ++i) {
    const auto x = static_cast<float>(rng.normal() * std::exp2(30.0 * rng.uniform() - 26.0));
    EXPECT_EQ(scalar::narrow(x).bits, to_fp16(x).bits) << x;
    const float narrowed = to_float(to_bf16(x));
    EXPECT_LE(std::fabs(narrowed - x), std::fabs(x) * 0x1p-8f);
  }
  EXPECT_EQ(to_float(to_fp16(1e6f)), 65504.0f);
  EXPECT_EQ(to_float(to_fp16(-1e6f)), -65504.0f);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace crinn::ann
