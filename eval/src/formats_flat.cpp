// SPDX-License-Identifier: Apache-2.0
#include "formats_flat.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "crinn/ann/knn_half.h"
#include "sources.h"

namespace crinn::eval {
namespace {

namespace fs = std::filesystem;

struct Format {
  std::string_view suffix;
  Element element;
  enum { kVecs, kBin, kNpy } kind;
};

constexpr Format kFormats[] = {
    {".fvecs", Element::kF32, Format::kVecs}, {".bvecs", Element::kU8, Format::kVecs},
    {".ivecs", Element::kI32, Format::kVecs}, {".fbin", Element::kF32, Format::kBin},
    {".f16bin", Element::kF16, Format::kBin}, {".u8bin", Element::kU8, Format::kBin},
    {".i8bin", Element::kI8, Format::kBin},   {".ibin", Element::kI32, Format::kBin},
    {".npy", Element::kF32, Format::kNpy},
};

const Format* format_of(const fs::path& path) {
  const std::string suffix = path.extension().string();
  const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats),
                                   [&](const Format& format) { return format.suffix == suffix; });
  return found == std::end(kFormats) ? nullptr : found;
}

/// Calls row(i, bytes of the values) for rows [start, end) in order, reading in large pieces.
template <class Row>
void for_each_row(const BinaryFile& file, const Layout& layout, int64_t start, int64_t end,
                  Row row) {
  const int64_t row_bytes = layout.cols * element_bytes(layout.element);
  const int64_t header = layout.dimension_before_row ? int64_t{sizeof(int32_t)} : 0;
  const int64_t batch = std::max<int64_t>(1, (int64_t{4} << 20) / layout.stride);
  std::vector<char> buffer(static_cast<std::size_t>(std::min(batch, end - start) * layout.stride));
  for (int64_t first = start; first < end; first += batch) {
    const int64_t count = std::min(batch, end - first);
    file.read(layout.offset + first * layout.stride, buffer.data(),
              (count - 1) * layout.stride + header + row_bytes);
    for (int64_t i = 0; i < count; ++i) {
      const char* at = buffer.data() + i * layout.stride;
      int32_t dimension = static_cast<int32_t>(layout.cols);
      if (header > 0) std::memcpy(&dimension, at, sizeof dimension);
      if (dimension != layout.cols) {
        file.fail(fmt::format("row {} has {} dimensions, row 0 has {}", first + i, dimension,
                              layout.cols));
      }
      row(first + i, at + header);
    }
  }
}

template <class T>
void convert(const BinaryFile& file, int64_t row, const char* bytes, int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) {
    T value;
    std::memcpy(&value, bytes + j * int64_t{sizeof(T)}, sizeof value);
    if constexpr (std::is_same_v<T, double>) {
      // A finite double beyond fp32 has no conversion at all in C++.
      if (std::isfinite(value) && std::fabs(value) > std::numeric_limits<float>::max()) {
        file.fail(fmt::format("row {} holds {} at column {}: beyond fp32", row, value, j));
      }
    }
    out[j] = static_cast<float>(value);
    if constexpr (std::is_same_v<T, int32_t>) {
      if (static_cast<double>(out[j]) != value) {
        file.fail(
            fmt::format("row {} holds {} at column {}: not representable in fp32", row, value, j));
      }
    }
  }
}

void convert_halves(const char* bytes, int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) {
    uint16_t half;
    std::memcpy(&half, bytes + j * int64_t{sizeof half}, sizeof half);
    out[j] = ann::half_value(half);
  }
}

/// One file holds everything: its last rows become the queries.
void hold_out_queries(OpenDataset& data, const std::string& file) {
  const int64_t n = data.base.rows;
  const int64_t queries = std::min<int64_t>(1000, n / 10);
  if (queries < 1) {
    throw Error(ErrorCategory::kData,
                fmt::format("load_dataset: {}: {} rows are too few to hold out queries; name a "
                            "file of queries: 'BASE,QUERIES'",
                            file, n));
  }
  data.base.rows = n - queries;
  data.rest.queries = data.base.read(n - queries, queries);
}

}  // namespace

int64_t element_bytes(Element element) {
  switch (element) {
    case Element::kF64: return 8;
    case Element::kF16: return 2;
    case Element::kU8:
    case Element::kI8: return 1;
    default: return 4;
  }
}

bool is_flat_format(const fs::path& path) { return format_of(path) != nullptr; }

Layout layout_of(const BinaryFile& file, const fs::path& path) {
  const Format* format = format_of(path);
  if (!format) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("load_dataset: {}: the suffix is none of fvecs, bvecs, ivecs, fbin, "
                            "f16bin, u8bin, i8bin, ibin, npy",
                            path.string()));
  }
  switch (format->kind) {
    case Format::kVecs: return vecs_layout(file, format->element);
    case Format::kBin: return bin_layout(file, format->element);
    default: return npy_layout(file);
  }
}

Matrix read_rows(const BinaryFile& file, const Layout& layout, int64_t first, int64_t count) {
  Matrix matrix(count, layout.cols);
  for_each_row(file, layout, first, first + count, [&](int64_t i, const char* bytes) {
    float* out = matrix.row(i - first);
    switch (layout.element) {
      case Element::kF32: return convert<float>(file, i, bytes, layout.cols, out);
      case Element::kF64: return convert<double>(file, i, bytes, layout.cols, out);
      case Element::kF16: return convert_halves(bytes, layout.cols, out);
      case Element::kU8: return convert<uint8_t>(file, i, bytes, layout.cols, out);
      case Element::kI8: return convert<int8_t>(file, i, bytes, layout.cols, out);
      case Element::kI32: return convert<int32_t>(file, i, bytes, layout.cols, out);
    }
  });
  require_finite(matrix, file.name(), first);
  return matrix;
}

RowSource open_matrix(const fs::path& path) {
  const auto file = std::make_shared<const BinaryFile>(path);
  const Layout layout = layout_of(*file, path);
  return {layout.rows, layout.cols, [file, layout](int64_t first, int64_t count) {
            return read_rows(*file, layout, first, count);
          }};
}

Matrix read_matrix(const fs::path& path) {
  const RowSource matrix = open_matrix(path);
  return matrix.read(0, matrix.rows);
}

Layout vecs_layout(const BinaryFile& file, Element element) {
  const auto cols = file.value<int32_t>(0);
  const int64_t stride = int64_t{sizeof(int32_t)} + cols * element_bytes(element);
  if (cols < 1 || file.size() % stride != 0) {
    file.fail(fmt::format("row 0 has {} dimensions, which does not divide the file's {} bytes",
                          cols, file.size()));
  }
  const int64_t rows = file.size() / stride;
  require_shape(file.name(), rows, cols, element_bytes(element), file.size());
  return {rows, cols, element, 0, stride, true};
}

Layout bin_layout(const BinaryFile& file, Element element) {
  const int64_t bytes = element_bytes(element);
  const auto fits = [&](uint64_t rows, uint64_t cols, int64_t header) {
    const auto values = static_cast<uint64_t>((file.size() - header) / bytes);
    return (file.size() - header) % bytes == 0 && rows > 0 && cols > 0 && rows <= values &&
           values % rows == 0 && values / rows == cols;
  };
  const auto rows = file.value<uint32_t>(0), cols = file.value<uint32_t>(4);
  Layout layout{rows, cols, element, 8, cols * bytes, false};
  if (!fits(rows, cols, 8)) {
    if (file.size() < 16 || !fits(file.value<uint64_t>(0), file.value<uint64_t>(8), 16)) {
      file.fail(
          fmt::format("the header says {} rows of {} dimensions ({} bytes each value), but "
                      "the file has {} bytes",
                      rows, cols, bytes, file.size()));
    }
    layout.rows = static_cast<int64_t>(file.value<uint64_t>(0));
    layout.cols = static_cast<int64_t>(file.value<uint64_t>(8));
    layout.offset = 16;
    layout.stride = layout.cols * bytes;
  }
  require_shape(file.name(), layout.rows, layout.cols, bytes, file.size());
  return layout;
}

void read_truth(const fs::path& path, RawDataset& data) {
  const BinaryFile file(path);
  const std::string suffix = path.extension().string();
  Layout layout;
  if (suffix == ".ivecs") {
    layout = vecs_layout(file, Element::kI32);
  } else if (suffix == ".ibin" || suffix == ".bin") {
    const auto rows = file.value<uint32_t>(0), cols = file.value<uint32_t>(4);
    const uint64_t places = uint64_t{rows} * cols;
    const auto bytes = static_cast<uint64_t>(file.size() - 8);
    if (places > 0 && bytes % 8 == 0 && places == bytes / 8) {  // big-ann: ids, distances
      require_shape(file.name(), rows, cols, 8, file.size());
      layout = {rows, cols, Element::kI32, 8, int64_t{cols} * 4, false};
    } else {
      layout = bin_layout(file, Element::kI32);
    }
  } else {
    file.fail("ground truth is read from ivecs, ibin and bin");
  }
  if (layout.rows != data.queries.rows()) {
    file.fail(
        fmt::format("{} rows of ground truth for {} queries", layout.rows, data.queries.rows()));
  }
  data.truth_source = file.name();
  data.truth_k = static_cast<int>(layout.cols);
  data.truth_ids.reserve(static_cast<std::size_t>(layout.rows * layout.cols));
  for_each_row(file, layout, 0, layout.rows, [&](int64_t, const char* bytes) {
    for (int64_t j = 0; j < layout.cols; ++j) {
      int32_t id;
      std::memcpy(&id, bytes + j * 4, sizeof id);
      data.truth_ids.push_back(id);
    }
  });
}

OpenDataset open_flat(std::string_view name) {
  std::vector<std::string> files;
  for (std::string_view rest = name;;) {
    const std::size_t comma = rest.find(',');
    files.emplace_back(rest.substr(0, comma));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (files.size() > 3) {
    throw Error(
        ErrorCategory::kUsage,
        fmt::format("load_dataset: {}: {} files; at most BASE,QUERIES,TRUTH", name, files.size()));
  }
  OpenDataset data;
  data.name = fs::path(files[0]).stem().string();
  data.base = open_matrix(files[0]);
  if (files.size() == 1) {
    hold_out_queries(data, files[0]);
  } else {
    data.rest.queries = read_matrix(files[1]);
    if (files.size() == 3) read_truth(files[2], data.rest);
  }
  return data;
}

}  // namespace crinn::eval
