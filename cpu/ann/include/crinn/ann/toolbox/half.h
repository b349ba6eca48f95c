// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

#include "crinn/ann/toolbox/simd.h"

namespace crinn::ann {

/// IEEE binary16: 11 significant bits, at most 65504.
struct Fp16 {
  uint16_t bits;
};

/// The upper half of an fp32: 8 significant bits, fp32's range.
struct Bf16 {
  uint16_t bits;
};

namespace scalar {

/// Exact.
inline float widen(Fp16 h) {
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000u) << 16;
  const uint32_t exponent = (h.bits >> 10) & 31u;
  const uint32_t mantissa = h.bits & 1023u;
  if (exponent == 0) {  // zero and denormals: a multiple of 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

/// Rounds to nearest, ties to even; overflow gives infinity, as the hardware does.
inline Fp16 narrow(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // a denormal: adding 0.5 lets fp32's own rounding do the work
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u;
  return {static_cast<uint16_t>(sign | rounded >> 13)};
}

}  // namespace scalar

inline float to_float(float x) { return x; }
inline float to_float(uint8_t x) { return x; }
inline float to_float(Bf16 h) { return std::bit_cast<float>(static_cast<uint32_t>(h.bits) << 16); }
inline float to_float(Fp16 h) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  return _cvtsh_ss(h.bits);
#else
  return scalar::widen(h);
#endif
}

/// Rounds to nearest even and saturates at +-65504: a stored vector never holds an infinity.
inline Fp16 to_fp16(float x) {
  const float clamped = x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x;
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  return {static_cast<uint16_t>(_cvtss_sh(clamped, _MM_FROUND_TO_NEAREST_INT))};
#else
  return scalar::narrow(clamped);
#endif
}

/// Rounds to nearest even; NaN stays NaN.
inline Bf16 to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

}  // namespace crinn::ann
