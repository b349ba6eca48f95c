// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/pool.h"
#include "crinn/ann/toolbox/simd.h"

namespace crinn::ann {
namespace scalar {

inline void sort_nearest(std::vector<Candidate>& candidates) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
}

}  // namespace scalar

/// Nearest first; equal estimates in the order they came. Up to some hundred candidates no branch
/// depends on the data: the place of each is the number of those before it, and one pass over all
/// costs less than the mispredicted branches of a sort.
inline void sort_nearest(std::vector<Candidate>& candidates) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  constexpr std::size_t kMost = 160, kLanes = 4;
  const std::size_t count = candidates.size();
  if (count > kMost) return scalar::sort_nearest(candidates);
  alignas(32) int64_t keys[kMost];
  Candidate sorted[kMost];
  for (std::size_t i = 0; i < count; ++i) {
    keys[i] =
        static_cast<int64_t>(sortable_key(candidates[i].estimate)) << 32 | static_cast<int64_t>(i);
  }
  for (std::size_t i = count; i % kLanes != 0; ++i) keys[i] = std::numeric_limits<int64_t>::max();
  for (std::size_t i = 0; i < count; ++i) {
    const __m256i key = _mm256_set1_epi64x(keys[i]);
    __m256i before = _mm256_setzero_si256();  // minus how many
    for (std::size_t j = 0; j < count; j += kLanes) {
      const auto* four = reinterpret_cast<const __m256i*>(keys + j);
      before = _mm256_add_epi64(before, _mm256_cmpgt_epi64(key, _mm256_load_si256(four)));
    }
    const __m128i two =
        _mm_add_epi64(_mm256_castsi256_si128(before), _mm256_extracti128_si256(before, 1));
    sorted[-(_mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1))] = candidates[i];
  }
  std::copy_n(sorted, count, candidates.begin());
#else
  scalar::sort_nearest(candidates);
#endif
}

}  // namespace crinn::ann
