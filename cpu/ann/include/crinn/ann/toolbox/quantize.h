// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "crinn/ann/toolbox/simd.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// One step for all dimensions (right for a projection: it keeps the dimensions' weights), or one
/// for each (right where dimensions have ranges of their own).
enum class ScaleRule { kGlobal, kPerDimension };

/// What an int8 vector stands for: value = scale * code; sum is the sum of the codes.
struct Int8Scale {
  float scale = 0;
  int32_t sum = 0;
};

namespace scalar {

inline float largest_magnitude(const float* x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::fmax(largest, std::fabs(x[i]));
  return largest;
}

/// out = x * inverse rounded to nearest even; returns the sum. |x * inverse| <= 127.
inline int32_t round_int8(const float* x, int64_t n, float inverse, int8_t* out) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the mantissa.
    out[i] = static_cast<int8_t>(std::bit_cast<int32_t>(x[i] * inverse + 12582912.0f));
    sum += out[i];
  }
  return sum;
}

}  // namespace scalar

namespace detail {

#if defined(CRINN_SIMD_AVX512)

inline float largest_magnitude(const float* x, int64_t n) {
  __m512 a = _mm512_setzero_ps(), b = a;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    a = _mm512_max_ps(a, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    b = _mm512_max_ps(b, _mm512_abs_ps(_mm512_loadu_ps(x + i + 16)));
  }
  for (; i < n; i += 16) {
    const __mmask16 mask = lanes16(n - i < 16 ? n - i : 16);
    a = _mm512_max_ps(a, _mm512_abs_ps(_mm512_maskz_loadu_ps(mask, x + i)));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

inline int32_t round_int8(const float* x, int64_t n, float inverse, int8_t* out) {
  const __m512 scale = _mm512_set1_ps(inverse);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = lanes16(n - i < 16 ? n - i : 16);
    const __m512i code =
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale));
    sum = _mm512_add_epi32(sum, code);
    _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(code));
  }
  return _mm512_reduce_add_epi32(sum);
}

#elif defined(CRINN_SIMD_AVX2)

inline float largest_magnitude(const float* x, int64_t n) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 most = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    most = _mm256_max_ps(most, _mm256_and_ps(magnitude, _mm256_loadu_ps(x + i)));
  }
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, most);
  return std::fmax(scalar::largest_magnitude(lanes, 8), scalar::largest_magnitude(x + i, n - i));
}

inline int32_t round_int8(const float* x, int64_t n, float inverse, int8_t* out) {
  const __m256 scale = _mm256_set1_ps(inverse);
  const __m256i pick = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256i sum = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256i codes[4];
    for (int u = 0; u < 4; ++u) {
      codes[u] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + u * 8), scale));
      sum = _mm256_add_epi32(sum, codes[u]);
    }
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                             _mm256_packs_epi32(codes[2], codes[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        _mm256_permutevar8x32_epi32(bytes, pick));
  }
  return reduce_add(sum) + scalar::round_int8(x + i, n - i, inverse, out + i);
}

#else

using scalar::largest_magnitude;
using scalar::round_int8;

#endif

}  // namespace detail

/// Rounds x to [-127, 127] with the scale that its largest magnitude needs.
inline Int8Scale quantize_int8(const float* x, int64_t n, int8_t* out, float most = 127) {
  const float largest = detail::largest_magnitude(x, n);
  // A denormal has no finite inverse, and nothing to say either; nor has an infinity.
  if (!(largest > 1e-30f && largest < 1e38f)) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0;
    return {};
  }
  return {largest / most, detail::round_int8(x, n, most / largest, out)};
}

/// Whether a code has a byte of its own, and resolution enough not to need a factor a vector.
inline constexpr bool is_fine(int bits) { return bits >= 7; }

/// The least code that vectors are given: products of 8 bits want a range that is symmetric.
inline constexpr int lowest_code(int bits) { return bits == 8 ? 1 : 0; }

/// Codes of 1, 2, 4, 7 or 8 bits for a value a dimension: value = center + step * (code - half()).
/// What lies outside the range is clipped.
class ScalarQuantizer {
 public:
  ScalarQuantizer() = default;
  /// Fits to sample [rows, d] of values whose mean is near zero. quantile 0 picks the range: with 7
  /// and 8 bits nearly all values; below, the one with the least squared error of inner products
  /// (kGlobal) or the one that is best for a normal distribution (kPerDimension).
  ScalarQuantizer(MatrixView<const float> sample, int bits, ScaleRule rule, float quantile = 0);

  int bits() const { return bits_; }
  int64_t dims() const { return static_cast<int64_t>(step_.size()); }
  /// The code of `center`: 128, 64, 7.5, 1.5 or 0.5.
  float half() const { return half_; }
  const float* center() const { return center_.data(); }
  const float* step() const { return step_.data(); }
  /// The step of all dimensions, whose centres are 0; 0 where each has its own.
  float global_step() const { return global_step_; }

  /// One byte a dimension, at least lowest_code(bits()).
  void encode(const float* x, uint8_t* codes) const {
    const auto lowest = static_cast<float>(lowest_code(bits_));
    const float highest = static_cast<float>((1 << bits_) - 1);
    for (std::size_t i = 0; i < step_.size(); ++i) {
      float code = (x[i] - center_[i]) * inverse_[i] + (half_ + 0.5f);
      code = code < lowest ? lowest : code;
      code = code > highest ? highest : code;
      codes[i] = static_cast<uint8_t>(code);
    }
  }
  float decode(int64_t i, int code) const {
    return center_[i] + step_[i] * (static_cast<float>(code) - half_);
  }

 private:
  int bits_ = 8;
  float half_ = 128, global_step_ = 0;
  std::vector<float> center_, step_, inverse_;
};

}  // namespace crinn::ann
