// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <future>

#include "crinn/eval/dataset.h"

namespace crinn::eval {

/// The rows of a matrix that stays in its file.
struct RowSource {
  int64_t rows = 0, cols = 0;
  /// Rows [first, first + count) as fp32, whatever the file holds. Throws Error (data) that names
  /// the file and the row. Not for several threads at once.
  std::function<Matrix(int64_t first, int64_t count)> read;
};

/// Calls use(slice, first) with the rows [first, first + slice.rows()), slice by slice in order,
/// while another thread reads the next one: two are in memory at a time. An error of reading a
/// slice arrives where it would be used.
template <class Use>
void for_each_slice(const RowSource& source, int64_t slice_rows, const Use& use) {
  const auto read = [&](int64_t first) {
    return std::async(std::launch::async, source.read, first,
                      std::min(slice_rows, source.rows - first));
  };
  std::future<Matrix> next;
  if (source.rows > 0) next = read(0);
  for (int64_t first = 0; first < source.rows; first += slice_rows) {
    const Matrix slice = next.get();
    if (first + slice_rows < source.rows) next = read(first + slice_rows);
    use(slice, first);
  }
}

}  // namespace crinn::eval
