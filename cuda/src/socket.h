// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace crinn::gpu {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

/// An owned TCP socket. No call waits beyond its deadline, or at all where it takes none.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }

  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void close();

  /// Listens at all addresses of this machine; port 0: one that is free. Throws Error (device).
  static Socket listen(int port);
  int port() const;
  /// Whoever has called; not open where nobody has.
  Socket accept() const;
  /// Throws Error (device) that names the address and says why not.
  static Socket connect(const std::string& host, int port, Deadline deadline);

  /// The number of bytes that were there, at most into.size(). Closes where the other end is gone.
  std::size_t read(std::span<std::byte> into);
  /// Whether all was sent.
  bool write(std::span<const std::byte> bytes, Deadline deadline);

 private:
  int fd_ = -1;
};

/// Returns when one of the descriptors may be read, at the deadline, and now and then for nothing.
void wait_readable(const std::vector<int>& fds, Deadline deadline);

}  // namespace crinn::gpu
