// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "crinn/base/matrix_view.h"
#include "crinn/base/rng.h"

namespace crinn::ann {

/// Sizes on both sides of every lane count and unroll step, and those of the named data sets.
inline const std::vector<int64_t>& odd_sizes() {
  static const std::vector<int64_t> sizes = {
      0,  1,  2,  3,  4,  7,  8,   15,  16,  17,  25,  31,  32,  33,  47,  48,  63, 64,
      65, 66, 79, 80, 96, 97, 100, 124, 127, 128, 129, 130, 255, 256, 257, 784, 960};
  return sizes;
}

/// Kinds of values: normal, zeros, negative, large, denormal, mixed magnitudes.
enum class Values { kNormal, kZero, kNegative, kLarge, kDenormal, kMixed };
inline constexpr Values kAllValues[] = {Values::kNormal, Values::kZero,     Values::kNegative,
                                        Values::kLarge,  Values::kDenormal, Values::kMixed};

inline float draw(Values values, Rng& rng) {
  const double x = rng.normal();
  switch (values) {
    case Values::kNormal: return static_cast<float>(x);
    case Values::kZero: return 0.0f;
    case Values::kNegative: return static_cast<float>(-1.0 - x * x);
    case Values::kLarge: return static_cast<float>(x * 1e4);
    case Values::kDenormal: return static_cast<float>(x * 1e-39);
    case Values::kMixed: return static_cast<float>(rng.below(2) ? x * 1e3 : x * 1e-3);
  }
  return 0;
}

/// A matrix with its memory.
struct Matrix {
  int64_t rows, cols;
  std::vector<float> values;
  Matrix(int64_t rows, int64_t cols)
      : rows(rows), cols(cols), values(static_cast<std::size_t>(rows * cols)) {}
  MatrixView<const float> view() const { return {values.data(), rows, cols}; }
  float* row(int64_t i) { return values.data() + i * cols; }
  const float* row(int64_t i) const { return values.data() + i * cols; }
};

inline Matrix random_matrix(int64_t rows, int64_t cols, uint64_t seed,
                            Values values = Values::kNormal) {
  Matrix matrix(rows, cols);
  Rng rng(seed);
  for (float& x : matrix.values) x = draw(values, rng);
  return matrix;
}

/// Rows whose variance falls with the dimension and whose mean is not zero, mixed by a few random
/// reflections: what a projection is for.
inline Matrix decaying_matrix(int64_t rows, int64_t cols, uint64_t seed, double decay = 12) {
  Matrix matrix = random_matrix(rows, cols, seed);
  Rng rng(mix_seed(seed, 1));
  std::vector<float> mirror(static_cast<std::size_t>(cols));
  double length = 0;
  for (float& x : mirror) {
    x = static_cast<float>(rng.normal());
    length += static_cast<double>(x) * static_cast<double>(x);
  }
  for (int64_t i = 0; i < rows; ++i) {
    double along = 0;
    for (int64_t j = 0; j < cols; ++j) {
      float& x = matrix.row(i)[j];
      x *= static_cast<float>(
          3.0 * std::exp(-decay * static_cast<double>(j) / static_cast<double>(cols)));
      along += static_cast<double>(x * mirror[j]);
    }
    for (int64_t j = 0; j < cols; ++j) {
      float& x = matrix.row(i)[j];
      x = static_cast<float>(static_cast<double>(x) -
                             2.0 * along / length * static_cast<double>(mirror[j]) + 0.5);
    }
  }
  return matrix;
}

}  // namespace crinn::ann
