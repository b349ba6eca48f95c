// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#include "crinn/ann/exact_distance.h"

/// IEEE binary16 in integer registers, the same on host and device and without a compiler's type
/// for it.
namespace crinn::ann {

/// Magnitudes from here on round to infinity.
inline constexpr double kHalfOverflow = 65520;

/// To nearest, ties to even; beyond the range to infinity. NaN is not supported.
CRINN_HOST_DEVICE inline uint16_t half_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  const auto exponent = static_cast<int>(magnitude >> 23) - 127;
  if (exponent > 15) return static_cast<uint16_t>(sign | 0x7C00u);
  if (exponent < -25) return sign;  // below half of the least subnormal
  const uint32_t significand = (magnitude & 0x7FFFFFu) | (magnitude >> 23 ? 0x800000u : 0u);
  // Bits that are cut: 13 of a normal number, more of a subnormal one.
  const int cut = exponent < -14 ? 13 + (-14 - exponent) : 13;
  uint32_t kept = significand >> cut;
  const uint32_t rest = significand & ((1u << cut) - 1), half = 1u << (cut - 1);
  if (rest > half || (rest == half && (kept & 1))) ++kept;
  // The implicit bit of `kept` carries into the exponent, also when rounding overflowed.
  const uint32_t biased = exponent < -14 ? 0u : static_cast<uint32_t>(exponent + 14) << 10;
  return static_cast<uint16_t>(sign | (biased + kept));
}

/// The value of a half that is no NaN; exact.
CRINN_HOST_DEVICE inline float half_value(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = half >> 10 & 31u, fraction = half & 1023u;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 255u : exponent + 112;  // 31: infinity
  const uint32_t bits = sign | wide << 23 | fraction << 13;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace crinn::ann
