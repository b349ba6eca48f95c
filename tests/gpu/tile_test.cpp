// SPDX-License-Identifier: Apache-2.0
// What the certificate takes for granted about a device: fails where it does not hold.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "crinn/ann/knn_half.h"
#include "crinn/base/rng.h"
#include "fused.h"
#include "on_device.h"

namespace crinn::gpu {
namespace {

class GpuTile : public OnDevice {};

TEST_F(GpuTile, ProductsOfBytesAreExact) {
  for (const int64_t row_bytes : {32, 96, 128, 416, 1024}) {
    Rng rng(static_cast<uint64_t>(row_bytes));
    std::vector<uint8_t> a(static_cast<std::size_t>(128 * row_bytes)), b(a.size());
    for (auto* bytes : {&a, &b}) {
      for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(rng.below(256));
    }
    const std::vector<float> products = tile_products(a, b, row_bytes, true);
    for (int64_t q = 0; q < 128; ++q) {
      for (int64_t i = 0; i < 128; ++i) {
        int32_t sum = 0;
        for (int64_t j = 0; j < row_bytes; ++j) {
          sum += int32_t{static_cast<int8_t>(a[static_cast<std::size_t>(q * row_bytes + j)])} *
                 static_cast<int8_t>(b[static_cast<std::size_t>(i * row_bytes + j)]);
        }
        ASSERT_EQ(products[static_cast<std::size_t>(q * 128 + i)], static_cast<float>(sum));
      }
    }
  }
}

/// Halves whose sums provoke a tensor core: `kind` chooses magnitudes and signs.
float adversarial(Rng& rng, int kind, int64_t row, int64_t j) {
  switch (kind) {
    case 0: return static_cast<float>(rng.normal());
    // One large product, then many that lie below its last bit.
    case 1: return j == 0 ? 256.0f : static_cast<float>(std::ldexp(1 + rng.uniform(), -4));
    // Sums that cancel down to their rounding.
    case 2:
      return (j % 2 == 0 || row % 2 == 0 ? 1.0f : -1.0f) * static_cast<float>(1 + rng.uniform());
    // All binary orders of fp16.
    case 3:
      return static_cast<float>(std::ldexp(rng.normal(), static_cast<int>(rng.below(24)) - 14));
    // Subnormal halves.
    default: return static_cast<float>(std::ldexp(rng.normal(), -18));
  }
}

TEST_F(GpuTile, SumsOfHalvesStayWithinTheCertificatesGamma) {
  for (const int64_t d : {16, 64, 128, 960, 4096}) {
    for (int kind = 0; kind < 5; ++kind) {
      Rng rng(static_cast<uint64_t>(10 * d + kind));
      std::vector<uint16_t> a(static_cast<std::size_t>(128 * d)), b(a.size());
      for (auto* halves : {&a, &b}) {
        for (std::size_t at = 0; at < halves->size(); ++at) {
          const auto place = static_cast<int64_t>(at);
          (*halves)[at] = ann::half_bits(adversarial(rng, kind, place / d, place % d));
        }
      }
      const auto bytes = [](const std::vector<uint16_t>& halves) {
        return std::span(reinterpret_cast<const uint8_t*>(halves.data()), halves.size() * 2);
      };
      const std::vector<float> products = tile_products(bytes(a), bytes(b), 2 * d, false);
      const double gamma = static_cast<double>(d / 16) * 24 * 0x1p-23;
      double worst = 0;
      for (int64_t q = 0; q < 128; ++q) {
        for (int64_t i = 0; i < 128; ++i) {
          double exact = 0, left = 0, right = 0;
          for (int64_t j = 0; j < d; ++j) {
            const double x = ann::half_value(a[static_cast<std::size_t>(q * d + j)]);
            const double y = ann::half_value(b[static_cast<std::size_t>(i * d + j)]);
            exact += x * y;
            left += x * x;
            right += y * y;
          }
          const double error = std::fabs(products[static_cast<std::size_t>(q * 128 + i)] - exact);
          worst = std::max(worst, error / std::sqrt(left * right));
        }
      }
      EXPECT_LE(worst, gamma) << "d = " << d << ", kind " << kind;
      RecordProperty("d" + std::to_string(d) + "_kind" + std::to_string(kind) + "_of_gamma",
                     std::to_string(worst / gamma));
    }
  }
}

}  // namespace
}  // namespace crinn::gpu
