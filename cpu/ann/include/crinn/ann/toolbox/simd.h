// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#if defined(__x86_64__)
// g++ 12 takes its own _mm512_undefined_*() for a use of an uninitialised value.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

/// Which instruction set the kernels are compiled for; decided by -march, once for a binary.
/// CRINN_SIMD_AVX512: F, BW, DQ, VL and VNNI (Cascade Lake, Zen 4 and later), with CRINN_SIMD_VBMI
/// VBMI too (Ice Lake, Zen 4); CRINN_SIMD_AVX2: AVX2, FMA and F16C (Haswell, Zen 1 and later);
/// neither: plain C++.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define CRINN_SIMD_AVX512 1
#if defined(__AVX512VBMI__)
#define CRINN_SIMD_VBMI 1
#endif
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define CRINN_SIMD_AVX2 1
#endif

namespace crinn::ann {

#if defined(CRINN_SIMD_VBMI)
inline constexpr const char* kSimdTarget = "avx512 with vbmi";
#elif defined(CRINN_SIMD_AVX512)
inline constexpr const char* kSimdTarget = "avx512";
#elif defined(CRINN_SIMD_AVX2)
inline constexpr const char* kSimdTarget = "avx2";
#else
inline constexpr const char* kSimdTarget = "scalar";
#endif

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

namespace detail {

#if defined(CRINN_SIMD_AVX512)

/// The lowest `count` of 64, 32 or 16 lanes; 0 <= count <= lanes.
inline __mmask64 lanes64(int64_t count) { return _bzhi_u64(~0ull, static_cast<unsigned>(count)); }
inline __mmask16 lanes16(int64_t count) {
  return static_cast<__mmask16>(_bzhi_u32(0xffffu, static_cast<unsigned>(count)));
}

/// Four horizontal sums at once, as the four lanes of the result.
inline __m128i reduce_add4(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i abcd =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

#elif defined(CRINN_SIMD_AVX2)

inline float reduce_add(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline int32_t reduce_add(__m256i v) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/// Four horizontal sums at once, as the four lanes of the result.
inline __m128i reduce_add4(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  const __m256i abcd =
      _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

#endif

}  // namespace detail
}  // namespace crinn::ann
