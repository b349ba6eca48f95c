// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {
namespace {

using nlohmann::json;

// The reference implementation refuses larger headers too.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::optional<uint64_t> element_bytes(const std::string& dtype) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 10> kSizes{{{"F64", 8},
                                                                                 {"F32", 4},
                                                                                 {"F16", 2},
                                                                                 {"BF16", 2},
                                                                                 {"I64", 8},
                                                                                 {"I32", 4},
                                                                                 {"I16", 2},
                                                                                 {"I8", 1},
                                                                                 {"U8", 1},
                                                                                 {"BOOL", 1}}};
  for (const auto& [name, bytes] : kSizes) {
    if (name == dtype) return bytes;
  }
  return std::nullopt;
}

// nullopt: a negative dimension, an unknown dtype, or a size beyond 64 bits.
std::optional<uint64_t> tensor_bytes(const std::string& dtype, const std::vector<int64_t>& shape) {
  std::optional<uint64_t> bytes = element_bytes(dtype);
  for (int64_t size : shape) {
    uint64_t product = 0;
    if (!bytes || size < 0 ||
        __builtin_mul_overflow(*bytes, static_cast<uint64_t>(size), &product)) {
      return std::nullopt;
    }
    bytes = product;
  }
  return bytes;
}

[[noreturn]] void bad_file(const std::string& name, const std::string& what) {
  throw Error(ErrorCategory::kData, fmt::format("read safetensors {}: {}", name, what));
}

std::span<const std::byte> map_file(const std::string& name) {
  const int file = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) bad_file(name, std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(file, &status) == 0;
  const auto size = static_cast<std::size_t>(known ? status.st_size : 0);
  void* data = size >= 8 ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
  const int error = errno;
  ::close(file);
  if (size < 8) bad_file(name, fmt::format("{} bytes are too few for a header", size));
  if (data == MAP_FAILED) bad_file(name, std::strerror(error));
  return {static_cast<const std::byte*>(data), size};
}

struct Placed {
  uint64_t begin, end;
  std::string tensor;
};

Placed parse_entry(const std::string& name, const std::string& tensor, const json& description,
                   std::span<const std::byte> data, SafetensorsEntry& entry) {
  uint64_t begin = 0;
  uint64_t end = 0;
  try {
    entry.dtype = description.at("dtype").get<std::string>();
    entry.shape = description.at("shape").get<std::vector<int64_t>>();
    const auto offsets = description.at("data_offsets").get<std::array<uint64_t, 2>>();
    begin = offsets[0];
    end = offsets[1];
  } catch (const json::exception& error) {
    bad_file(name, fmt::format("tensor {}: {}", tensor, error.what()));
  }
  if (!element_bytes(entry.dtype)) {
    bad_file(name, fmt::format("tensor {}: unknown dtype {}", tensor, entry.dtype));
  }
  if (begin > end || end > data.size()) {
    bad_file(name, fmt::format("tensor {}: offsets [{}, {}) lie outside of {} bytes of data",
                               tensor, begin, end, data.size()));
  }
  if (tensor_bytes(entry.dtype, entry.shape) != end - begin) {
    bad_file(name, fmt::format("tensor {}: {} bytes do not hold its shape as {}", tensor,
                               end - begin, entry.dtype));
  }
  entry.data = data.subspan(begin, end - begin);
  return {begin, end, tensor};
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : bytes_(map_file(path.string())) {
  try {
    parse(path.string());
  } catch (...) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void SafetensorsFile::parse(const std::string& name) {
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes_.data(), sizeof header_bytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes_.size() - 8) {
    bad_file(name,
             fmt::format("a header of {} bytes in a file of {}", header_bytes, bytes_.size()));
  }
  const auto* text = reinterpret_cast<const char*>(bytes_.data() + 8);
  const json header = json::parse(text, text + header_bytes, nullptr, false);
  if (!header.is_object()) bad_file(name, "the header is not a JSON object");

  const std::span<const std::byte> data = bytes_.subspan(8 + header_bytes);
  std::vector<Placed> placed;
  for (const auto& [tensor, description] : header.items()) {
    if (tensor == "__metadata__") {
      try {
        metadata_ = description.get<std::map<std::string, std::string>>();
      } catch (const json::exception& error) {
        bad_file(name, fmt::format("__metadata__: {}", error.what()));
      }
      continue;
    }
    placed.push_back(parse_entry(name, tensor, description, data, entries_[tensor]));
  }

  // The format allows neither holes nor overlaps: either hides data that no one checks.
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const Placed& tensor : placed) {
    if (tensor.begin != expected) {
      bad_file(name, fmt::format("tensor {}: begins at {}, but the tensor before it ends at {}",
                                 tensor.tensor, tensor.begin, expected));
    }
    expected = tensor.end;
  }
  if (expected != data.size()) {
    bad_file(name, fmt::format("{} bytes of data, but the tensors take {}", data.size(), expected));
  }
}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, SafetensorsEntry>& entries,
                       const std::map<std::string, std::string>& metadata) {
  // Wide elements first keeps every tensor aligned to its element.
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  for (const auto& entry : entries) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return element_bytes(a->second.dtype) > element_bytes(b->second.dtype);
  });

  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    if (tensor_bytes(tensor.dtype, tensor.shape) != tensor.data.size()) {
      throw Error(ErrorCategory::kUsage,
                  fmt::format("write_safetensors: tensor {}: {} bytes do not hold its shape as {}",
                              name, tensor.data.size(), tensor.dtype));
    }
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');

  std::string content;
  content.reserve(8 + text.size() + offset);
  const uint64_t header_bytes = text.size();
  content.append(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  content += text;
  for (const auto* entry : order) {
    const std::span<const std::byte> data = entry->second.data;
    content.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  write_file_atomic(path, content);
}

}  // namespace crinn::train
