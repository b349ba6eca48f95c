// SPDX-License-Identifier: Apache-2.0
#include "binary_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "crinn/base/error.h"

namespace crinn::eval {

BinaryFile::BinaryFile(const std::filesystem::path& path) : name_(path.string()) {
  fd_ = open(name_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail(fmt::format("cannot open: {}", std::strerror(errno)));
  struct stat status {};
  if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd_);
    fail("not a regular file");
  }
  size_ = status.st_size;
}

BinaryFile::~BinaryFile() { close(fd_); }

void BinaryFile::read(int64_t offset, void* out, int64_t bytes) const {
  if (offset < 0 || bytes < 0 || offset > size_ || bytes > size_ - offset) {
    fail(fmt::format("truncated: {} bytes wanted at offset {}, the file has {}", bytes, offset,
                     size_));
  }
  auto* target = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(fd_, target, static_cast<std::size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      fail(fmt::format("cannot read: {}", got < 0 ? std::strerror(errno) : "truncated"));
    target += got;
    offset += got;
    bytes -= got;
  }
}

void BinaryFile::fail(const std::string& message) const {
  throw Error(ErrorCategory::kData, fmt::format("load_dataset: {}: {}", name_, message));
}

}  // namespace crinn::eval
