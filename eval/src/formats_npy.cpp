// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "formats_flat.h"
#include "sources.h"

namespace crinn::eval {
namespace {

/// What follows 'KEY': in the header, a Python dictionary literal, up to the end of the value.
std::string_view value_of(const BinaryFile& file, std::string_view header, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = fmt::format("{0}{1}{0}", quote, key);
    std::size_t at = header.find(quoted);
    if (at == std::string_view::npos) continue;
    at = header.find_first_not_of(" \t", at + quoted.size());
    if (at == std::string_view::npos || header[at] != ':') break;
    at = header.find_first_not_of(" \t", at + 1);
    if (at != std::string_view::npos) return header.substr(at);
  }
  file.fail(fmt::format("the npy header has no '{}'", key));
}

std::optional<Element> element_of(std::string_view descr) {
  if (descr == "<f4") return Element::kF32;
  if (descr == "<f8") return Element::kF64;
  if (descr == "<f2") return Element::kF16;
  if (descr == "|u1" || descr == "<u1") return Element::kU8;
  if (descr == "|i1" || descr == "<i1") return Element::kI8;
  if (descr == "<i4") return Element::kI32;
  return std::nullopt;
}

/// "(rows, cols)" exactly.
void parse_shape(const BinaryFile& file, std::string_view text, Layout& layout) {
  const std::size_t close = text.find(')');
  const std::string_view shape = text.substr(0, close == std::string_view::npos ? 0 : close + 1);
  int64_t sizes[2] = {};
  const char* at = shape.data();
  const char* end = shape.data() + shape.size();
  const auto skip = [&](std::string_view characters) {
    while (at < end && characters.find(*at) != std::string_view::npos) ++at;
  };
  skip("( ");
  for (int64_t& size : sizes) {
    const auto [next, error] = std::from_chars(at, end, size);
    if (error != std::errc()) {
      file.fail(fmt::format("npy shape {} is not (rows, columns)", shape));
    }
    at = next;
    skip(", ");
  }
  if (at + 1 != end) file.fail(fmt::format("npy shape {} is not (rows, columns)", shape));
  layout.rows = sizes[0];
  layout.cols = sizes[1];
}

}  // namespace

Layout npy_layout(const BinaryFile& file) {
  char magic[8];
  file.read(0, magic, sizeof magic);
  if (std::string_view(magic, 6) != "\x93NUMPY") file.fail("not an npy file (bad magic)");
  const int version = static_cast<unsigned char>(magic[6]);
  if (version < 1 || version > 3) file.fail(fmt::format("npy version {} is unknown", version));
  // Version 1 has a 16-bit header length, later ones 32 bits.
  const int64_t length = version == 1 ? file.value<uint16_t>(8) : file.value<uint32_t>(8);
  Layout layout;
  layout.offset = (version == 1 ? 10 : 12) + length;
  if (layout.offset > file.size() || length > (1 << 20)) {
    file.fail(fmt::format("the npy header of {} bytes does not fit in {}", length, file.size()));
  }
  std::string header(static_cast<std::size_t>(length), '\0');
  file.read(layout.offset - length, header.data(), length);

  std::string_view descr = value_of(file, header, "descr");
  const std::size_t end = descr.size() > 1 ? descr.find(descr[0], 1) : std::string_view::npos;
  descr = end == std::string_view::npos ? descr.substr(0, 20) : descr.substr(1, end - 1);
  const std::optional<Element> element = element_of(descr);
  if (!element) {
    file.fail(fmt::format("npy type '{}' is none of <f2, <f4, <f8, |u1, |i1, <i4", descr));
  }
  layout.element = *element;
  if (!value_of(file, header, "fortran_order").starts_with("False")) {
    file.fail("the npy array is in Fortran order: save it with numpy.ascontiguousarray");
  }
  parse_shape(file, value_of(file, header, "shape"), layout);
  const int64_t bytes = element_bytes(layout.element);
  require_shape(file.name(), layout.rows, layout.cols, bytes, file.size() - layout.offset);
  if (layout.rows * layout.cols * bytes != file.size() - layout.offset) {
    file.fail(fmt::format("npy shape ({}, {}) needs {} bytes, the file holds {}", layout.rows,
                          layout.cols, layout.rows * layout.cols * bytes,
                          file.size() - layout.offset));
  }
  layout.stride = layout.cols * bytes;
  return layout;
}

}  // namespace crinn::eval
