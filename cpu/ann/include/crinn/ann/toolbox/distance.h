// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/metric.h"
#include "crinn/ann/toolbox/half.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/ann/toolbox/simd.h"

/// Distances between an fp32 query and a stored row of fp32, fp16, bf16 or u8 values. The row's
/// values are widened to fp32, which is exact, and summed in fp32. Any d >= 0, any alignment.
namespace crinn::ann {

namespace scalar {

/// |q - x|^2.
template <class T>
float l2(const float* q, const T* x, int64_t d) {
  float sum = 0;
  for (int64_t i = 0; i < d; ++i) {
    const float diff = q[i] - to_float(x[i]);
    sum += diff * diff;
  }
  return sum;
}

/// <q, x>.
template <class T>
float dot(const float* q, const T* x, int64_t d) {
  float sum = 0;
  for (int64_t i = 0; i < d; ++i) sum += q[i] * to_float(x[i]);
  return sum;
}

}  // namespace scalar

namespace detail {

#if defined(CRINN_SIMD_AVX512)

using FloatLanes = __m512;
inline constexpr int64_t kFloatLanes = 16;

inline __m512 load(const float* x) { return _mm512_loadu_ps(x); }
inline __m512 load(const int32_t* x) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(x)); }
inline __m512 load(const Fp16* x) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
inline __m512 widen_bf16(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
inline __m512 load(const Bf16* x) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
inline __m512 load(const uint8_t* x) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}
inline __m512 load_some(const float* x, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, x); }
inline __m512 load_some(const Fp16* x, __mmask16 mask) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x));
}
inline __m512 load_some(const Bf16* x, __mmask16 mask) {
  return widen_bf16(_mm256_maskz_loadu_epi16(mask, x));
}
inline __m512 load_some(const uint8_t* x, __mmask16 mask) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x)));
}
inline __m512 zero_lanes() { return _mm512_setzero_ps(); }
inline __m512 broadcast(float x) { return _mm512_set1_ps(x); }
inline __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
inline __m512 sub(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
inline __m512 multiply_add(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
inline float reduce_add(__m512 v) { return _mm512_reduce_add_ps(v); }

#elif defined(CRINN_SIMD_AVX2)

using FloatLanes = __m256;
inline constexpr int64_t kFloatLanes = 8;

inline __m256 load(const float* x) { return _mm256_loadu_ps(x); }
inline __m256 load(const int32_t* x) {
  return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
inline __m256 load(const Fp16* x) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
inline __m256 load(const Bf16* x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))), 16));
}
inline __m256 load(const uint8_t* x) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}
/// All bits of the last `count` of eight lanes.
inline __m256 last_lanes(int64_t count) {
  const __m256i place = _mm256_setr_epi32(8, 7, 6, 5, 4, 3, 2, 1);
  return _mm256_castsi256_ps(
      _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count) + 1), place));
}
inline __m256 zero_lanes() { return _mm256_setzero_ps(); }
inline __m256 broadcast(float x) { return _mm256_set1_ps(x); }
inline __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
inline __m256 sub(__m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
inline __m256 multiply_add(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }

#endif

#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)

struct L2Step {
  static FloatLanes add_to(FloatLanes sum, FloatLanes q, FloatLanes x) {
    const FloatLanes diff = sub(q, x);
    return multiply_add(diff, diff, sum);
  }
};
struct DotStep {
  static FloatLanes add_to(FloatLanes sum, FloatLanes q, FloatLanes x) {
    return multiply_add(q, x, sum);
  }
};

/// Four independent sums hide the latency of the fused multiply-add.
template <class Step, class T>
inline float accumulate(const float* q, const T* x, int64_t d) {
  constexpr int64_t kLanes = kFloatLanes;
  FloatLanes a = zero_lanes(), b = zero_lanes(), c = zero_lanes(), e = zero_lanes();
  int64_t i = 0;
  for (; i + 4 * kLanes <= d; i += 4 * kLanes) {
    a = Step::add_to(a, load(q + i), load(x + i));
    b = Step::add_to(b, load(q + i + kLanes), load(x + i + kLanes));
    c = Step::add_to(c, load(q + i + 2 * kLanes), load(x + i + 2 * kLanes));
    e = Step::add_to(e, load(q + i + 3 * kLanes), load(x + i + 3 * kLanes));
  }
  if (i + 2 * kLanes <= d) {
    a = Step::add_to(a, load(q + i), load(x + i));
    b = Step::add_to(b, load(q + i + kLanes), load(x + i + kLanes));
    i += 2 * kLanes;
  }
  if (i + kLanes <= d) {
    c = Step::add_to(c, load(q + i), load(x + i));
    i += kLanes;
  }
#if defined(CRINN_SIMD_AVX512)
  if (i < d) {
    const __mmask16 mask = lanes16(d - i);
    e = Step::add_to(e, load_some(q + i, mask), load_some(x + i, mask));
  }
#else
  if (i < d && d >= kLanes) {
    // The last full register once more, without what has been added already.
    const __m256 rest = last_lanes(d - i);
    e = Step::add_to(e, _mm256_and_ps(rest, load(q + d - kLanes)),
                     _mm256_and_ps(rest, load(x + d - kLanes)));
  } else if (i < d) {
    float some_q[kLanes] = {};
    float some_x[kLanes] = {};
    for (int64_t j = 0; i + j < d; ++j) {
      some_q[j] = q[i + j];
      some_x[j] = to_float(x[i + j]);
    }
    e = Step::add_to(e, load(some_q), load(some_x));
  }
#endif
  return reduce_add(add(add(a, b), add(c, e)));
}

#endif

}  // namespace detail

/// |q - x|^2. T is float, Fp16, Bf16 or uint8_t.
template <class T>
inline float l2(const float* q, const T* x, int64_t d) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  return detail::accumulate<detail::L2Step>(q, x, d);
#else
  return scalar::l2(q, x, d);
#endif
}

/// <q, x>. T is float, Fp16, Bf16 or uint8_t.
template <class T>
inline float dot(const float* q, const T* x, int64_t d) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  return detail::accumulate<detail::DotStep>(q, x, d);
#else
  return scalar::dot(q, x, d);
#endif
}

/// The metric's distance, smaller is nearer: l2 under kL2 and kCosine (unit vectors), -dot under
/// kInnerProduct.
template <Metric M, class T>
inline float distance(const float* q, const T* x, int64_t d) {
  if constexpr (M == Metric::kInnerProduct) {
    return -dot(q, x, d);
  } else {
    return l2(q, x, d);
  }
}

/// The same with the metric known at run time: one well predicted branch, none in the loop.
template <class T>
inline float distance(Metric metric, const float* q, const T* x, int64_t d) {
  return metric == Metric::kInnerProduct ? -dot(q, x, d) : l2(q, x, d);
}

/// out[i] = distance to row ids[i] of `rows` (consecutive rows `stride` elements apart), while the
/// first lines of the row four places on are on their way; the core's own prefetcher follows.
template <class T>
inline void distances(Metric metric, const float* q, const T* rows, int64_t stride, int64_t d,
                      const int32_t* ids, int count, float* out) {
  constexpr int kAhead = 4;
  const int64_t bytes = d * static_cast<int64_t>(sizeof(T));
  const int64_t head = bytes < 4 * kCacheLine ? bytes : 4 * kCacheLine;
  for (int i = 0; i < count && i < kAhead; ++i) {
    prefetch_record(rows + ids[i] * stride, head);
  }
  for (int i = 0; i < count; ++i) {
    if (i + kAhead < count) prefetch_record(rows + ids[i + kAhead] * stride, head);
    out[i] = distance(metric, q, rows + ids[i] * stride, d);
  }
}

}  // namespace crinn::ann
