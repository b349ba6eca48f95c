// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/toolbox/simd.h"

/// Integer kernels. All results are exact in int32 (the caller keeps n below 33,000 for u8 x u8).
namespace crinn::ann {

namespace scalar {

/// sum (a - b)^2 of u8 values.
inline int32_t l2_u8(const uint8_t* a, const uint8_t* b, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/// sum a b of u8 values.
inline int32_t dot_u8(const uint8_t* a, const uint8_t* b, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// sum (a - 128) (b - 128) of u8 values.
inline int32_t dot_centered(const uint8_t* a, const uint8_t* b, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += (a[i] - 128) * (b[i] - 128);
  return sum;
}

}  // namespace scalar

namespace detail {

#if defined(CRINN_SIMD_AVX512)

inline __m512i load_bytes(const void* p) { return _mm512_loadu_si512(p); }

/// acc += (a - b)^2, 64 u8 pairs.
inline __m512i add_squares(__m512i acc, __m512i a, __m512i b) {
  const __m512i diff = _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b));
  const __m512i low = _mm512_unpacklo_epi8(diff, _mm512_setzero_si512());
  const __m512i high = _mm512_unpackhi_epi8(diff, _mm512_setzero_si512());
  return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(acc, low, low), high, high);
}

#elif defined(CRINN_SIMD_AVX2)

inline __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline __m256i add_squares(__m256i acc, __m256i a, __m256i b) {
  const __m256i diff = _mm256_sub_epi8(_mm256_max_epu8(a, b), _mm256_min_epu8(a, b));
  const __m256i low = _mm256_unpacklo_epi8(diff, _mm256_setzero_si256());
  const __m256i high = _mm256_unpackhi_epi8(diff, _mm256_setzero_si256());
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(low, low));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(high, high));
}

#endif

}  // namespace detail

/// sum (a - b)^2 of u8 values. Any n, any alignment.
inline int32_t l2_u8(const uint8_t* a, const uint8_t* b, int64_t n) {
#if defined(CRINN_SIMD_AVX512)
  __m512i even = _mm512_setzero_si512(), odd = even;
  int64_t i = 0;
  for (; i + 128 <= n; i += 128) {
    even = detail::add_squares(even, detail::load_bytes(a + i), detail::load_bytes(b + i));
    odd = detail::add_squares(odd, detail::load_bytes(a + i + 64), detail::load_bytes(b + i + 64));
  }
  for (; i < n; i += 64) {
    const __mmask64 mask = detail::lanes64(n - i < 64 ? n - i : 64);
    even = detail::add_squares(even, _mm512_maskz_loadu_epi8(mask, a + i),
                               _mm512_maskz_loadu_epi8(mask, b + i));
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd));
#elif defined(CRINN_SIMD_AVX2)
  __m256i sum = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    sum = detail::add_squares(sum, detail::load_bytes(a + i), detail::load_bytes(b + i));
  }
  return detail::reduce_add(sum) + scalar::l2_u8(a + i, b + i, n - i);
#else
  return scalar::l2_u8(a, b, n);
#endif
}

/// sum a b of u8 values. Any n, any alignment.
inline int32_t dot_u8(const uint8_t* a, const uint8_t* b, int64_t n) {
#if defined(CRINN_SIMD_AVX512)
  // u8 x (u8 - 128), plus 128 sum a.
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i dots = _mm512_setzero_si512(), sums = dots;
  for (int64_t i = 0; i < n; i += 64) {
    const __mmask64 mask = detail::lanes64(n - i < 64 ? n - i : 64);
    const __m512i x = _mm512_maskz_loadu_epi8(mask, a + i);
    dots =
        _mm512_dpbusd_epi32(dots, x, _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, b + i), flip));
    sums = _mm512_dpbusd_epi32(sums, x, ones);
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(dots, _mm512_slli_epi32(sums, 7)));
#elif defined(CRINN_SIMD_AVX2)
  const __m256i low = _mm256_set1_epi16(255);
  __m256i sum = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i x = detail::load_bytes(a + i), y = detail::load_bytes(b + i);
    sum = _mm256_add_epi32(sum,
                           _mm256_madd_epi16(_mm256_and_si256(x, low), _mm256_and_si256(y, low)));
    sum =
        _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srli_epi16(y, 8)));
  }
  return detail::reduce_add(sum) + scalar::dot_u8(a + i, b + i, n - i);
#else
  return scalar::dot_u8(a, b, n);
#endif
}

/// sum (a - 128) (b - 128) of u8 values. Any n, any alignment.
inline int32_t dot_centered(const uint8_t* a, const uint8_t* b, int64_t n) {
#if defined(CRINN_SIMD_AVX512)
  const __m512i middle = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i dots = _mm512_setzero_si512(), sums = dots;
  for (int64_t i = 0; i < n; i += 64) {
    const __mmask64 mask = detail::lanes64(n - i < 64 ? n - i : 64);
    const __m512i y = _mm512_xor_si512(middle, _mm512_mask_loadu_epi8(middle, mask, b + i));
    dots = _mm512_dpbusd_epi32(dots, _mm512_maskz_loadu_epi8(mask, a + i), y);
    sums = _mm512_dpbusd_epi32(sums, middle, y);
  }
  return _mm512_reduce_add_epi32(_mm512_sub_epi32(dots, sums));
#elif defined(CRINN_SIMD_AVX2)
  const auto widen = [&](const uint8_t* p) {  // -128 * -128 * 2 does not fit int16: widen first
    return _mm256_sub_epi16(
        _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
        _mm256_set1_epi16(128));
  };
  __m256i sum = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(widen(a + i), widen(b + i)));
  }
  return detail::reduce_add(sum) + scalar::dot_centered(a + i, b + i, n - i);
#else
  return scalar::dot_centered(a, b, n);
#endif
}

/// sum (a - b)^2 over bytes in [0, 127]; n is a multiple of 64. Seven bits, so that both the
/// difference and a code are valid as either factor of the u8 x s8 instructions.
inline int32_t l2_u7(const uint8_t* a, const uint8_t* b, int64_t n) {
#if defined(CRINN_SIMD_AVX512)
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += 64) {
    const __m512i x = _mm512_loadu_si512(a + i), y = _mm512_loadu_si512(b + i);
    const __m512i apart = _mm512_abs_epi8(_mm512_sub_epi8(x, y));
    sum = _mm512_dpbusd_epi32(sum, apart, apart);
  }
  return _mm512_reduce_add_epi32(sum);
#elif defined(CRINN_SIMD_AVX2)
  // Two squares of at most 127 fit int16.
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i even = _mm256_setzero_si256(), odd = even;
  for (int64_t i = 0; i < n; i += 64) {
    const __m256i low =
        _mm256_abs_epi8(_mm256_sub_epi8(detail::load_bytes(a + i), detail::load_bytes(b + i)));
    const __m256i high = _mm256_abs_epi8(
        _mm256_sub_epi8(detail::load_bytes(a + i + 32), detail::load_bytes(b + i + 32)));
    even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_maddubs_epi16(low, low), ones));
    odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_maddubs_epi16(high, high), ones));
  }
  return detail::reduce_add(_mm256_add_epi32(even, odd));
#else
  return scalar::l2_u8(a, b, n);
#endif
}

/// sum a b over bytes in [0, 127]; n is a multiple of 64.
inline int32_t dot_u7(const uint8_t* a, const uint8_t* b, int64_t n) {
#if defined(CRINN_SIMD_AVX512)
  __m512i sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += 64) {
    sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
  }
  return _mm512_reduce_add_epi32(sum);
#elif defined(CRINN_SIMD_AVX2)
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i even = _mm256_setzero_si256(), odd = even;
  for (int64_t i = 0; i < n; i += 64) {
    const __m256i low = _mm256_maddubs_epi16(detail::load_bytes(a + i), detail::load_bytes(b + i));
    const __m256i high =
        _mm256_maddubs_epi16(detail::load_bytes(a + i + 32), detail::load_bytes(b + i + 32));
    even = _mm256_add_epi32(even, _mm256_madd_epi16(low, ones));
    odd = _mm256_add_epi32(odd, _mm256_madd_epi16(high, ones));
  }
  return detail::reduce_add(_mm256_add_epi32(even, odd));
#else
  return scalar::dot_u8(a, b, n);
#endif
}

}  // namespace crinn::ann
