// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace crinn {

/// The whole file. Throws Error (data) that names the file.
std::string read_file(const std::filesystem::path& path);

/// Writes beside the target, syncs, and renames: a reader sees the old content or the new, never
/// half of it. Creates missing parent folders. Throws Error (data).
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

/// The same for what is written piece by piece: the target changes at commit() and not before; a
/// file that is not committed leaves nothing behind. Throws Error (data).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path target_;
  std::string temporary_;
  int fd_ = -1;
};

/// A fresh private folder under the system's temporary folder, removed with all its content by the
/// destructor.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string_view prefix = "crinn");
  ~TemporaryFolder();
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace crinn
