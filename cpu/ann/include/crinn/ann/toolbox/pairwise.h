// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/ann/toolbox/integer.h"
#include "crinn/ann/toolbox/parallel.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// 7-bit codes of all vectors on one affine scale, in the order they are asked for: what a graph is
/// built with. operator()(a, b) is the distance of the vectors at places a and b.
class PairwiseCodes {
 public:
  /// order[p] is the row of `base` at place p. The scale spans all but the outermost 1 / 10,000 of
  /// the values on each side; what lies beyond is clipped.
  PairwiseCodes(MatrixView<const float> base, Metric metric, std::span<const int32_t> order,
                int threads)
      : dot_(metric == Metric::kInnerProduct),
        stride_(round_up(base.cols, 64)),
        codes_(order.size() * static_cast<std::size_t>(stride_)),
        sums_(dot_ ? order.size() : 0) {
    const auto [low, high] = range(base);
    low_ = low;
    step_ = high > low ? (high - low) / 127.0f : 1.0f;
    d_ = static_cast<float>(base.cols);
    const float inverse = 1.0f / step_;
    parallel_for(threads, static_cast<int64_t>(order.size()), 256, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const float* row = base.row(order[static_cast<std::size_t>(p)]);
        uint8_t* code = codes_.data() + p * stride_;
        int32_t sum = 0;
        for (int64_t j = 0; j < base.cols; ++j) {
          const float level = std::clamp((row[j] - low_) * inverse, 0.0f, 127.0f);
          // Not negative, and it vectorises.
          code[j] = static_cast<uint8_t>(level + 0.5f);  // NOLINT(bugprone-incorrect-roundings)
          sum += code[j];
        }
        if (dot_) sums_[static_cast<std::size_t>(p)] = static_cast<float>(sum);
      }
    });
  }

  float operator()(int32_t a, int32_t b) const {
    const uint8_t* x = codes_.data() + a * stride_;
    const uint8_t* y = codes_.data() + b * stride_;
    if (!dot_) return step_ * step_ * static_cast<float>(l2_u7(x, y, stride_));
    const float sums = sums_[static_cast<std::size_t>(a)] + sums_[static_cast<std::size_t>(b)];
    return -(step_ * step_ * static_cast<float>(dot_u7(x, y, stride_)) + low_ * step_ * sums +
             low_ * low_ * d_);
  }
  void prefetch(int32_t place) const {
    prefetch_record(codes_.data() + place * stride_, stride_, 8);
  }

 private:
  static std::pair<float, float> range(MatrixView<const float> base) {
    const int64_t rows = std::min<int64_t>(base.rows, 2000);
    std::vector<float> values;
    values.reserve(static_cast<std::size_t>(rows * base.cols));
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = base.row(i * base.rows / rows);
      values.insert(values.end(), row, row + base.cols);
    }
    const auto outer = static_cast<std::ptrdiff_t>(values.size() / 10000);
    std::nth_element(values.begin(), values.begin() + outer, values.end());
    const float low = values[static_cast<std::size_t>(outer)];
    std::nth_element(values.begin(), values.end() - 1 - outer, values.end());
    return {low, *(values.end() - 1 - outer)};
  }

  bool dot_;
  int64_t stride_;
  HugeArray<uint8_t> codes_;
  HugeArray<float> sums_;
  float low_ = 0, step_ = 1, d_ = 0;
};

}  // namespace crinn::ann
