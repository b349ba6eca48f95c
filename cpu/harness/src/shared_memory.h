// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace crinn::harness {

/// A memory file that can be handed to a worker. Huge pages are advised. Move-only.
class SharedMemory {
 public:
  SharedMemory() = default;
  /// Zeroed; its size can never change. Throws Error (device).
  SharedMemory(const char* name, int64_t bytes);
  ~SharedMemory();
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;

  /// From now on nobody gets a writable mapping: what is there (this process's) stays writable.
  void seal();

  char* data() { return data_; }
  const char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  /// Writable until seal(), then a descriptor that was opened read-only.
  int fd() const { return fd_; }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
  int fd_ = -1;
};

}  // namespace crinn::harness
