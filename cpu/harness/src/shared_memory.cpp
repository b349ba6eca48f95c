// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "crinn/base/error.h"

namespace crinn::harness {
namespace {

[[noreturn]] void fail(const char* what, int64_t bytes) {
  throw Error(ErrorCategory::kDevice, std::string("shared memory: ") + what + " of " +
                                          std::to_string(bytes) +
                                          " bytes: " + std::strerror(errno));
}

constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;

}  // namespace

SharedMemory::SharedMemory(const char* name, int64_t bytes) : bytes_(bytes > 0 ? bytes : 1) {
  fd_ = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd_ < 0) fail("memfd_create", bytes_);
  if (ftruncate(fd_, bytes_) != 0 || fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    close(fd_);
    fail("ftruncate", bytes_);
  }
  // At a multiple of 2 MiB, or huge pages would be mapped in small pieces.
  const std::size_t size = static_cast<std::size_t>(bytes_);
  void* reserved = mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) {
    close(fd_);
    fail("mmap", bytes_);
  }
  const auto start = reinterpret_cast<std::uintptr_t>(reserved);
  const auto aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  void* data = mmap(reinterpret_cast<void*>(aligned), size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED, fd_, 0);
  if (data == MAP_FAILED) {
    close(fd_);
    fail("mmap", bytes_);
  }
  // The rest of the reservation goes back, page by page of 4 KiB.
  if (aligned > start) munmap(reserved, aligned - start);
  const std::uintptr_t end = (aligned + size + 4095) / 4096 * 4096;
  if (start + size + kHugePage > end) {
    munmap(reinterpret_cast<void*>(end), start + size + kHugePage - end);
  }
  madvise(data, size, MADV_HUGEPAGE);  // advice: a refusal costs speed only
  data_ = static_cast<char*>(data);
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) munmap(data_, static_cast<std::size_t>(bytes_));
  if (fd_ >= 0) close(fd_);
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      fd_(std::exchange(other.fd_, -1)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(fd_, other.fd_);
  return *this;
}

void SharedMemory::seal() {
#ifndef F_SEAL_FUTURE_WRITE
  constexpr int F_SEAL_FUTURE_WRITE = 0x0010;
#endif
  if (fcntl(fd_, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) fail("seal", bytes_);
  const std::string path = "/proc/self/fd/" + std::to_string(fd_);
  const int read_only = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (read_only < 0) fail("read-only descriptor", bytes_);
  close(std::exchange(fd_, read_only));
}

}  // namespace crinn::harness
