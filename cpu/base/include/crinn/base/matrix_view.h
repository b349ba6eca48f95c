// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

namespace crinn {

/// A borrowed row-major matrix [rows, cols]; consecutive rows are `stride` elements apart.
template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data, int64_t rows, int64_t cols) : MatrixView(data, rows, cols, cols) {}
  MatrixView(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}

  T* row(int64_t i) const { return data + i * stride; }
  std::span<T> row_span(int64_t i) const { return {row(i), static_cast<std::size_t>(cols)}; }
  /// Rows [first, first + count).
  MatrixView slice(int64_t first, int64_t count) const {
    return MatrixView(row(first), count, cols, stride);
  }
  operator MatrixView<const T>() const requires(!std::is_const_v<T>) {
    return MatrixView<const T>(data, rows, cols, stride);
  }
};

}  // namespace crinn
