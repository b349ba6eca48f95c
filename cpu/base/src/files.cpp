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
  const auto fail = [&](const char* what) {
    throw Error(ErrorCategory::kData, fmt::format("write_file_atomic: cannot {} {}: {}", what,
                                                  path.string(), std::strerror(errno)));
  };
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  std::string temporary = path.string() + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) fail("create a temporary file beside");
  std::size_t done = 0;
  bool ok = true;
  while (ok && done < content.size()) {
    const ssize_t wrote = write(fd, content.data() + done, content.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    ok = wrote >= 0;
    if (ok) done += static_cast<std::size_t>(wrote);
  }
  ok = ok && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
  const int saved = errno;
  close(fd);
  if (!ok || rename(temporary.c_str(), path.c_str()) != 0) {
    if (!ok) errno = saved;
    const int reason = errno;
    unlink(temporary.c_str());
    errno = reason;
    fail("write");
  }
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
