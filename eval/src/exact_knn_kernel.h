// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

/// The register-blocked fp32 products under exact_knn, written with the compiler's vector extension
/// so that one source serves every instruction set.
namespace crinn::eval::knn {

template <int W>
struct VectorOf {
  typedef float type __attribute__((vector_size(W * sizeof(float)), may_alias));
  typedef int32_t mask __attribute__((vector_size(W * sizeof(int32_t))));
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

/// <a, b> of two rows, aligned and zero-padded to `padded` floats, a multiple of 4 W.
template <int W>
inline float product(const float* a, const float* b, int64_t padded) {
  using Vector = typename VectorOf<W>::type;
  Vector sum[4] = {};
  for (int64_t i = 0; i < padded; i += 4 * W) {
#pragma GCC unroll 4
    for (int m = 0; m < 4; ++m) {
      sum[m] += *reinterpret_cast<const Vector*>(a + i + m * W) *
                *reinterpret_cast<const Vector*>(b + i + m * W);
    }
  }
  const Vector all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  float lanes[W];
  for (int j = 0; j < W; ++j) lanes[j] = all[j];
  for (int length = W / 2; length > 0; length /= 2) {
    for (int j = 0; j < length; ++j) lanes[j] += lanes[j + length];
  }
  return lanes[0];
}

/// acc, low and weight are aligned to W floats. Bit j: row j of 2 W may be among the nearest, not
/// (low - acc) - slope weight > threshold.
template <int W>
inline uint32_t survivors(const float* acc, const float* low, const float* weight, float slope,
                          float threshold) {
  using Vector = typename VectorOf<W>::type;
  using Mask = typename VectorOf<W>::mask;
  const auto at = [](const float* from, int half) {
    return *reinterpret_cast<const Vector*>(from + half * W);
  };
  Mask bits;
  for (int j = 0; j < W; ++j) bits[j] = 1 << j;
  Mask kept[2];
  for (int half = 0; half < 2; ++half) {
    const Vector lower = (at(low, half) - at(acc, half)) - slope * at(weight, half);
    kept[half] = ~Mask(lower > threshold) & (half == 0 ? bits : bits << W);
  }
  const Mask either = kept[0] | kept[1];
  uint32_t mask = 0;
  for (int j = 0; j < W; ++j) mask |= static_cast<uint32_t>(either[j]);
  return mask;
}

#if defined(__AVX512F__)
inline constexpr int kWidth = 16, kQueryRows = 12;  // 24 of 32 registers accumulate
#elif defined(__AVX__)
inline constexpr int kWidth = 8, kQueryRows = 6;  // 12 of 16
#else
inline constexpr int kWidth = 4, kQueryRows = 6;
#endif

inline constexpr int kPanel = 2 * kWidth;  // base rows of one tile
inline constexpr int64_t kDepth = 256;     // dimensions of one tile: bounds the rounding chain

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Floats of a row that product() reads; not a multiple of a page, or the rows of a panel share
/// their places in L1.
inline int64_t padded(int64_t d) {
  const int64_t floats = round_up(d, 4 * kWidth);
  return floats % 1024 == 0 ? floats + 4 * kWidth : floats;
}

/// A panel [d, kPanel] from `count` rows of `stride` floats; the columns beyond are zero.
inline void transpose(const float* rows, int64_t stride, int64_t count, int64_t d, float* panel) {
  for (int64_t i = 0; i < d; ++i) {
    for (int64_t j = 0; j < count; ++j) panel[i * kPanel + j] = rows[j * stride + i];
    for (int64_t j = count; j < kPanel; ++j) panel[i * kPanel + j] = 0;
  }
}

/// The additions that round which a product over `depth` dimensions passes at most, in slices or in
/// product().
inline int64_t chain(int64_t depth) {
  constexpr int kLanes = 4 * kWidth;
  const int64_t slices = std::min(depth, kDepth) + depth / kDepth + 2;
  return std::max(slices, depth / kLanes + 2 + std::bit_width(unsigned{kLanes}));
}

/// Adds the slice of kDepth dimensions from `i` on to c [kQueryRows, kPanel] = a [depth,
/// kQueryRows]^T b [depth, kPanel]; the first one overwrites c.
inline void product_slice(const float* a, const float* b, int64_t depth, int64_t i, float* c) {
  product_tile<kWidth, kQueryRows>(a + i * kQueryRows, b + i * kPanel, std::min(kDepth, depth - i),
                                   i == 0, c);
}

}  // namespace crinn::eval::knn
