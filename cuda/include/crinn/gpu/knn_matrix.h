// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/base/matrix_view.h"

namespace crinn::gpu {

/// What a vector consists of. All are widened to fp32, without loss, before anything else.
enum class ElementType { kFp32, kFp16, kU8, kI8 };

constexpr int64_t bytes_of(ElementType type) {
  return type == ElementType::kFp32 ? 4 : type == ElementType::kFp16 ? 2 : 1;
}

/// Borrowed row-major vectors [rows, cols]; consecutive rows are `stride` elements apart.
struct KnnMatrix {
  const void* data = nullptr;
  ElementType type = ElementType::kFp32;
  int64_t rows = 0, cols = 0, stride = 0;
  bool on_device = false;  ///< in the memory of any CUDA device, else in the host's

  KnnMatrix() = default;
  KnnMatrix(const void* data, ElementType type, int64_t rows, int64_t cols, int64_t stride,
            bool on_device)
      : data(data), type(type), rows(rows), cols(cols), stride(stride), on_device(on_device) {}
  KnnMatrix(MatrixView<const float> view)  // fp32 in host memory is what most have
      : KnnMatrix(view.data, ElementType::kFp32, view.rows, view.cols, view.stride, false) {}

  const void* row(int64_t i) const {
    return static_cast<const char*>(data) + i * stride * bytes_of(type);
  }
  /// Rows [first, first + count).
  KnnMatrix slice(int64_t first, int64_t count) const {
    return {row(first), type, count, cols, stride, on_device};
  }
  /// The first row, and every step-th after it.
  KnnMatrix every(int64_t step) const {
    return {data, type, (rows + step - 1) / step, cols, stride * step, on_device};
  }
};

}  // namespace crinn::gpu
