// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// The register-blocked fp32 product under exact_knn: a tile of MR queries times 2 W rows, written
/// with the compiler's vector extension so that one source serves every instruction set.
namespace crinn::eval::knn {

template <int W>
struct VectorOf {
  typedef float type __attribute__((vector_size(W * sizeof(float)), may_alias));
};

/// c [MR, 2 W] = (first ? 0 : c) + sum over i < length of a[i, MR]^T b[i, 2 W]. b and c are aligned
/// to W floats. Each element is one chain of `length` additions, plus one for c.
template <int W, int MR>
inline void product_tile(const float* a, const float* b, int64_t length, bool first, float* c) {
  using Vector = typename VectorOf<W>::type;
  Vector sum[MR][2] = {};
  for (int64_t i = 0; i < length; ++i) {
    const Vector left = *reinterpret_cast<const Vector*>(b + i * 2 * W);
    const Vector right = *reinterpret_cast<const Vector*>(b + i * 2 * W + W);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      sum[m][0] += a[i * MR + m] * left;
      sum[m][1] += a[i * MR + m] * right;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
    auto* row = reinterpret_cast<Vector*>(c + m * 2 * W);
    row[0] = first ? sum[m][0] : row[0] + sum[m][0];
    row[1] = first ? sum[m][1] : row[1] + sum[m][1];
  }
}

/// Whether any of 2 W rows may be among the nearest: not (low - acc) - slope weight > threshold.
template <int W>
inline bool any_survivor(const float* acc, const float* low, const float* weight, float slope,
                         float threshold) {
  int kept = 0;  // a reduction that compilers vectorise
  for (int j = 0; j < 2 * W; ++j) {
    kept |= static_cast<int>(!((low[j] - acc[j]) - slope * weight[j] > threshold));
  }
  return kept != 0;
}

#if defined(__AVX512F__)
inline constexpr int kWidth = 16, kQueryRows = 12;  // 24 of 32 registers accumulate
#elif defined(__AVX__)
inline constexpr int kWidth = 8, kQueryRows = 6;  // 12 of 16
#else
inline constexpr int kWidth = 4, kQueryRows = 6;
#endif

}  // namespace crinn::eval::knn
