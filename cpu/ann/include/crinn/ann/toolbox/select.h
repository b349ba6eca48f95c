// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/toolbox/simd.h"

namespace crinn::ann {

/// Bit i says whether estimates[i] < limit, for 16 estimates: which of a block are worth a look.
/// Infinite and NaN estimates never are.
inline uint32_t below16(const float* estimates, float limit) {
#if defined(CRINN_SIMD_AVX512)
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(estimates), _mm512_set1_ps(limit), _CMP_LT_OQ);
#elif defined(CRINN_SIMD_AVX2)
  const __m256 bound = _mm256_set1_ps(limit);
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(estimates), bound, _CMP_LT_OQ));
  const int high =
      _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(estimates + 8), bound, _CMP_LT_OQ));
  return static_cast<uint32_t>(low | high << 8);
#else
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(estimates[i] < limit) << i;
  return mask;
#endif
}

/// Of the first `count` estimates only; 16 are read all the same.
inline uint32_t below16(const float* estimates, float limit, int64_t count) {
  const uint32_t mask = below16(estimates, limit);
  return count < 16 ? mask & ((1u << count) - 1) : mask;
}

}  // namespace crinn::ann
