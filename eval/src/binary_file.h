// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

namespace crinn::eval {

/// A file opened for reading at offsets. Errors (data) name it.
class BinaryFile {
 public:
  explicit BinaryFile(const std::filesystem::path& path);
  ~BinaryFile();
  BinaryFile(const BinaryFile&) = delete;
  BinaryFile& operator=(const BinaryFile&) = delete;

  const std::string& name() const { return name_; }
  int64_t size() const { return size_; }

  /// Exactly `bytes` at `offset`; Error where the file ends before.
  void read(int64_t offset, void* out, int64_t bytes) const;

  /// One little-endian value.
  template <class T>
  T value(int64_t offset) const {
    T result;
    read(offset, &result, sizeof result);
    return result;
  }

  [[noreturn]] void fail(const std::string& message) const;

 private:
  std::string name_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace crinn::eval
