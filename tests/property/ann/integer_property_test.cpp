// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/integer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "crinn/ann/toolbox/packed.h"
#include "crinn/ann/toolbox/quantize.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

/// Random bytes, or the extremes only: these are what overflows.
std::vector<uint8_t> random_bytes(int64_t n, bool extremes, Rng& rng) {
  std::vector<uint8_t> bytes(static_cast<std::size_t>(n));
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(extremes ? (rng.below(2) ? 255 : 0) : rng.below(256));
  }
  return bytes;
}

std::vector<int8_t> random_query(int64_t n, bool extremes, Rng& rng) {
  std::vector<int8_t> query(static_cast<std::size_t>(n));
  for (int8_t& q : query) {
    q = static_cast<int8_t>(extremes ? 127 : static_cast<int>(rng.below(255)) - 127);
  }
  return query;
}

TEST(Integers, AgreeWithTheScalarTwin) {
  Rng rng(1);
  for (const bool extremes : {false, true}) {
    for (const int64_t n : odd_sizes()) {
      for (const int64_t offset : {0, 1, 7}) {
        const auto a = random_bytes(n + offset, extremes, rng);
        const auto b = random_bytes(n + offset, extremes, rng);
        const uint8_t *x = a.data() + offset, *y = b.data() + offset;
        EXPECT_EQ(l2_u8(x, y, n), scalar::l2_u8(x, y, n)) << n;
        EXPECT_EQ(dot_u8(x, y, n), scalar::dot_u8(x, y, n)) << n;
        EXPECT_EQ(dot_centered(x, y, n), scalar::dot_centered(x, y, n)) << n;
      }
    }
  }
}

TEST(Integers, OfSevenBitsAgreeWithTheScalarTwin) {
  Rng rng(4);
  for (const bool extremes : {false, true}) {
    for (int64_t n = 64; n <= 1024; n += 64) {
      for (const int64_t offset : {0, 1, 7}) {
        auto a = random_bytes(n + offset, extremes, rng),
             b = random_bytes(n + offset, extremes, rng);
        for (uint8_t& byte : a) byte /= 2;
        for (uint8_t& byte : b) byte /= 2;
        const uint8_t *x = a.data() + offset, *y = b.data() + offset;
        EXPECT_EQ(l2_u7(x, y, n), scalar::l2_u8(x, y, n)) << n;
        EXPECT_EQ(dot_u7(x, y, n), scalar::dot_u8(x, y, n)) << n;
      }
    }
  }
}

TEST(Integers, HoldTheLargestDifferencesOverManyDimensions) {
  const std::vector<uint8_t> zeros(33000, 0), ones(33000, 255);
  EXPECT_EQ(l2_u8(zeros.data(), ones.data(), 33000), 33000 * 65025);
  EXPECT_EQ(dot_u8(ones.data(), ones.data(), 33000), 33000 * 65025);
}

/// Bytes of packed codes; those of 5 and 7 bits leave the highest ones clear.
template <int kBits>
std::vector<uint8_t> random_codes(int64_t bytes, bool extremes, Rng& rng) {
  auto codes = random_bytes(bytes, extremes, rng);
  if (kBits == 5 || kBits == 7) {
    for (uint8_t& code : codes) code &= (1 << kBits) - 1;
  }
  if (kBits == 8) std::replace(codes.begin(), codes.end(), uint8_t{0}, uint8_t{1});
  return codes;
}

template <class Bits>
class Packed : public testing::Test {};
using AllBits = testing::Types<std::integral_constant<int, 1>, std::integral_constant<int, 2>,
                               std::integral_constant<int, 4>, std::integral_constant<int, 5>,
                               std::integral_constant<int, 7>, std::integral_constant<int, 8>>;
TYPED_TEST_SUITE(Packed, AllBits);

TYPED_TEST(Packed, OneVectorAgreesWithTheScalarTwin) {
  constexpr int kBits = TypeParam::value;
  Rng rng(2);
  for (const bool extremes : {false, true}) {
    for (int64_t bytes = 64; bytes <= 1024; bytes += 64) {
      const int64_t plane = bytes + 64;
      const auto query = random_query(8 / kBits * plane, extremes, rng);
      int32_t sum = 0;
      for (int64_t i = 0; i < bytes; ++i) sum += query[i];
      const int32_t bias = kBits == 8 ? 128 * sum : 77;
      std::vector<std::vector<uint8_t>> codes;
      for (int i = 0; i < 4; ++i) codes.push_back(random_codes<kBits>(bytes, extremes, rng));
      int32_t four[4];
      dot_packed4<kBits>(codes[0].data(), codes[1].data(), codes[2].data(), codes[3].data(),
                         query.data(), plane, bytes, bias, four);
      for (int i = 0; i < 4; ++i) {
        const int32_t expected =
            scalar::dot_packed<kBits>(codes[i].data(), query.data(), plane, bytes) - bias;
        EXPECT_EQ(dot_packed<kBits>(codes[i].data(), query.data(), plane, bytes, bias), expected);
        EXPECT_EQ(four[i], expected);
      }
    }
  }
}

TYPED_TEST(Packed, LanesAgreeWithTheScalarTwin) {
  constexpr int kBits = TypeParam::value;
  Rng rng(3);
  for (const bool extremes : {false, true}) {
    for (const int64_t words : {1, 2, 3, 4, 5, 7, 8, 15, 16, 23, 31}) {
      for (int64_t lanes = 16; lanes <= 144; lanes += 16) {
        const int64_t stride = lanes + (words % 2) * 16;
        const int64_t plane = words * 4 + 3;
        const auto query = random_query(8 / kBits * plane, extremes, rng);
        const auto codes = random_codes<kBits>(words * stride * 4, extremes, rng);
        int32_t sum = 0;
        for (int64_t i = 0; i < words * 4; ++i) sum += query[i];
        const int32_t bias = kBits == 8 ? 128 * sum : -5;
        std::vector<int32_t> expected(static_cast<std::size_t>(lanes)), out(expected);
        scalar::dot_lanes<kBits>(codes.data(), words, stride, lanes, query.data(), plane, bias,
                                 expected.data());
        dot_lanes<kBits>(codes.data(), words, stride, lanes, query.data(), plane, bias, out.data());
        EXPECT_EQ(out, expected) << words << " " << lanes;

        // Every other word, as if those between were zero.
        auto half = query;
        std::vector<int32_t> which;
        for (int64_t w = 0; w < words; ++w) {
          if (w % 2 == 0) which.push_back(static_cast<int32_t>(w));
          for (int64_t i = 0; w % 2 == 1 && i < 4; ++i) {
            for (int64_t s = 0; s < 8 / kBits; ++s) half[s * plane + w * 4 + i] = 0;
          }
        }
        int32_t half_sum = 0;
        for (int64_t i = 0; i < words * 4; ++i) half_sum += half[i];
        const int32_t half_bias = kBits == 8 ? 128 * half_sum : -5;
        scalar::dot_lanes<kBits>(codes.data(), words, stride, lanes, half.data(), plane, half_bias,
                                 expected.data());
        dot_lanes_of<kBits>(which.data(), static_cast<int64_t>(which.size()), codes.data(), stride,
                            lanes, half.data(), plane, half_bias, out.data());
        EXPECT_EQ(out, expected) << words << " " << lanes;
      }
    }
  }
}

TEST(QuantizeInt8, RoundsToTheNearestAndSums) {
  Rng rng(4);
  for (const Values values : kAllValues) {
    for (const int64_t n : odd_sizes()) {
      std::vector<float> x(static_cast<std::size_t>(n));
      for (float& value : x) value = draw(values, rng);
      std::vector<int8_t> codes(static_cast<std::size_t>(n), 55);
      const Int8Scale scale = quantize_int8(x.data(), n, codes.data());
      int32_t sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        sum += codes[i];
        EXPECT_LE(std::abs(codes[i]), 127);
        EXPECT_NEAR(scale.scale * static_cast<float>(codes[i]), x[i],
                    0.5001f * scale.scale + 1e-30f);
      }
      EXPECT_EQ(scale.sum, sum);
    }
  }
}

}  // namespace
}  // namespace crinn::ann
