// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sources.h"

namespace crinn::eval {

void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& temporary)>& write) {
  const auto fail = [&](const char* what) {
    throw Error(ErrorCategory::kData,
                fmt::format("write {}: cannot {}: {}", path.string(), what, std::strerror(errno)));
  };
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) {
      throw Error(ErrorCategory::kData,
                  fmt::format("write {}: {}", path.string(), error.message()));
    }
  }
  std::string temporary = path.string() + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) fail("create a temporary file beside it");
  try {
    write(temporary);
    // fd still refers to the file: `write` reopened it by name.
    if (fchmod(fd, 0644) != 0 || fsync(fd) != 0) fail("sync it");
    if (rename(temporary.c_str(), path.c_str()) != 0) fail("rename it");
  } catch (...) {
    close(fd);
    unlink(temporary.c_str());
    throw;
  }
  close(fd);
}

}  // namespace crinn::eval
