// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "crinn/base/error.h"

namespace crinn {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw Error(ErrorCategory::kData,
                fmt::format("read_file: cannot open {}: {}", path.string(), std::strerror(errno)));
  }
  std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) {
    throw Error(ErrorCategory::kData, fmt::format("read_file: cannot read {}", path.string()));
  }
  return content;
}

void write_file_atomic(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}

AtomicFile::AtomicFile(std::filesystem::path target) : target_(std::move(target)) {
  std::error_code error;
  if (target_.has_parent_path()) std::filesystem::create_directories(target_.parent_path(), error);
  if (error) {
    throw Error(ErrorCategory::kData, fmt::format("AtomicFile: cannot create the folder of {}: {}",
                                                  target_.string(), error.message()));
  }
  temporary_ = target_.string() + ".XXXXXX";
  fd_ = mkostemp(temporary_.data(), O_CLOEXEC);
  if (fd_ < 0) fail("create a temporary file beside");
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::write(fd_, from, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("write");
    from += wrote;
    bytes -= static_cast<std::size_t>(wrote);
  }
}

void AtomicFile::commit() {
  if (fchmod(fd_, 0644) != 0 || fsync(fd_) != 0) fail("write");
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail("replace");
  close(fd_);
  fd_ = -1;
}

void AtomicFile::fail(const char* what) const {
  throw Error(ErrorCategory::kData, fmt::format("AtomicFile: cannot {} {}: {}", what,
                                                target_.string(), std::strerror(errno)));
}

TemporaryFolder::TemporaryFolder(std::string_view prefix) {
  std::string name =
      (std::filesystem::temp_directory_path() / fmt::format("{}-XXXXXX", prefix)).string();
  if (!mkdtemp(name.data())) {
    throw Error(ErrorCategory::kData,
                fmt::format("TemporaryFolder: cannot create {}: {}", name, std::strerror(errno)));
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // a destructor does not throw
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace crinn
