// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

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

/// Rounds x to [-127, 127] with the scale that its largest magnitude needs.
inline Int8Scale quantize_int8(const float* x, int64_t n, int8_t* out) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  // A denormal `largest` has no finite inverse, and nothing to say either.
  if (!(largest > 1e-30f)) {
    for (int64_t i = 0; i < n; ++i) out[i] = 0;
    return {};
  }
  const float inverse = 127.0f / largest;
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the mantissa.
    const auto code = static_cast<int8_t>(std::bit_cast<int32_t>(x[i] * inverse + 12582912.0f));
    out[i] = code;
    sum += code;
  }
  return {largest / 127.0f, sum};
}

/// Codes of 1, 2, 4 or 8 bits for a value a dimension: value = center + step * (code - half()).
/// What lies outside the range is clipped.
class ScalarQuantizer {
 public:
  ScalarQuantizer() = default;
  /// Fits to sample [rows, d] of values whose mean is near zero. quantile 0 picks the range: the
  /// one with the least squared error of inner products (kGlobal), the one that is best for a
  /// normal distribution (kPerDimension).
  ScalarQuantizer(MatrixView<const float> sample, int bits, ScaleRule rule, float quantile = 0);

  int bits() const { return bits_; }
  int64_t dims() const { return static_cast<int64_t>(step_.size()); }
  /// The code of `center`: 128, 7.5, 1.5 or 0.5.
  float half() const { return half_; }
  const float* center() const { return center_.data(); }
  const float* step() const { return step_.data(); }

  /// One byte a dimension.
  void encode(const float* x, uint8_t* codes) const {
    const float highest = static_cast<float>((1 << bits_) - 1);
    for (std::size_t i = 0; i < step_.size(); ++i) {
      float code = (x[i] - center_[i]) * inverse_[i] + (half_ + 0.5f);
      code = code < 0 ? 0 : code;
      code = code > highest ? highest : code;
      codes[i] = static_cast<uint8_t>(code);
    }
  }
  float decode(int64_t i, int code) const {
    return center_[i] + step_[i] * (static_cast<float>(code) - half_);
  }

 private:
  int bits_ = 8;
  float half_ = 128;
  std::vector<float> center_, step_, inverse_;
};

}  // namespace crinn::ann
