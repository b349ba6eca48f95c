// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "binary_file.h"
#include "crinn/eval/dataset.h"

namespace crinn::eval {

enum class Element { kF32, kF64, kF16, kU8, kI8, kI32 };
int64_t element_bytes(Element element);

/// Where a file keeps a matrix: row i begins at offset + i * stride. Sizes are checked.
struct Layout {
  int64_t rows = 0, cols = 0;
  Element element = Element::kF32;
  int64_t offset = 0, stride = 0;
  bool dimension_before_row = false;  ///< TEXMEX: each row repeats its int32 dimension
};

/// fvecs, bvecs, ivecs: per row an int32 dimension, then the values.
Layout vecs_layout(const BinaryFile& file, Element element);
/// big-ann: u32 rows, u32 cols, values; or the same header with u64.
Layout bin_layout(const BinaryFile& file, Element element);
/// The layout of a file by its suffix. Throws Error (usage) on another suffix, Error (data).
Layout layout_of(const BinaryFile& file, const std::filesystem::path& path);
/// Rows [first, first + count) as fp32. Throws Error (data) that names a row: NaN, Inf, or what
/// fp32 does not hold.
Matrix read_rows(const BinaryFile& file, const Layout& layout, int64_t first, int64_t count);

/// NumPy's npy, versions 1 to 3, C order; f2, f4, f8, u1, i1, i4.
Layout npy_layout(const BinaryFile& file);

}  // namespace crinn::eval
