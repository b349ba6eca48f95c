// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace crinn::train {

/// One tensor of a safetensors file: little-endian, row-major bytes that somebody else owns.
struct SafetensorsEntry {
  std::string dtype;  ///< "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8" or "BOOL"
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

/// A safetensors file mapped for reading; its entries stay valid while it lives.
class SafetensorsFile {
 public:
  /// Throws Error (data) that names the file, and the tensor whose description is wrong.
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  void parse(const std::string& name);

  std::span<const std::byte> bytes_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes the file atomically. Throws Error (usage) where a shape and its bytes disagree, and Error
/// (data) on I/O faults.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, SafetensorsEntry>& entries,
                       const std::map<std::string, std::string>& metadata);

}  // namespace crinn::train
