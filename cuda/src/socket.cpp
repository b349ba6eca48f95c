// SPDX-License-Identifier: Apache-2.0
#include "socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

void set(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);  // a wish; nothing depends on it
}

/// A machine that is cut off counts as gone after 30 + 6 * 10 s of silence.
void tune(int fd) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

int milliseconds_until(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1000));
}

/// IPv6 that takes IPv4 too, or IPv4 where there is no IPv6.
Socket listening(int family, int port) {
  Socket socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.open()) return socket;
  set(socket.fd(), SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_storage address{};
  socklen_t length = sizeof(sockaddr_in);
  if (family == AF_INET6) {
    set(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    auto& any = reinterpret_cast<sockaddr_in6&>(address);
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(static_cast<uint16_t>(port));
    length = sizeof(sockaddr_in6);
  } else {
    auto& any = reinterpret_cast<sockaddr_in&>(address);
    any.sin_family = AF_INET;
    any.sin_port = htons(static_cast<uint16_t>(port));
  }
  if (bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::listen(socket.fd(), SOMAXCONN) != 0) {
    const int fault = errno;
    socket.close();
    errno = fault;
  }
  return socket;
}

/// A connection to one address; where there is none, errno says why.
Socket connected(const addrinfo& address, Deadline deadline) {
  Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.open()) return socket;
  int fault = 0;
  if (::connect(socket.fd(), address.ai_addr, address.ai_addrlen) != 0) fault = errno;
  if (fault == EINPROGRESS) {
    pollfd wait{socket.fd(), POLLOUT, 0};
    while (poll(&wait, 1, milliseconds_until(deadline)) <= 0 && Clock::now() < deadline) continue;
    fault = ETIMEDOUT;
    socklen_t length = sizeof fault;
    if (wait.revents != 0) getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &fault, &length);
  }
  if (fault == 0) {
    tune(socket.fd());
  } else {
    socket.close();
    errno = fault;
  }
  return socket;
}

}  // namespace

void Socket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Socket Socket::listen(int port) {
  Socket socket = listening(AF_INET6, port);
  if (!socket.open() && errno != EADDRINUSE) socket = listening(AF_INET, port);
  if (!socket.open()) {
    throw Error(ErrorCategory::kDevice,
                fmt::format("listen: port {}: {}", port, std::strerror(errno)));
  }
  return socket;
}

int Socket::port() const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Socket Socket::accept() const {
  Socket socket(accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.open()) tune(socket.fd());
  return socket;
}

Socket Socket::connect(const std::string& host, int port, Deadline deadline) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int unknown = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  std::string reason = unknown ? gai_strerror(unknown) : "no address";
  for (const addrinfo* address = found; address; address = address->ai_next) {
    Socket socket = connected(*address, deadline);
    if (socket.open()) return socket;
    reason = std::strerror(errno);
  }
  throw Error(ErrorCategory::kDevice, fmt::format("{}:{}: {}", host, port, reason));
}

std::size_t Socket::read(std::span<std::byte> into) {
  std::size_t done = 0;
  while (open() && done < into.size()) {
    const ssize_t got = recv(fd_, into.data() + done, into.size() - done, 0);
    if (got > 0) {
      done += static_cast<std::size_t>(got);
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
      close();
    } else if (errno == EAGAIN) {
      break;
    }
  }
  return done;
}

bool Socket::write(std::span<const std::byte> bytes, Deadline deadline) {
  while (open() && !bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (Clock::now() >= deadline) return false;
      pollfd wait{fd_, POLLOUT, 0};
      poll(&wait, 1, milliseconds_until(deadline));
    } else if (errno != EINTR) {
      return false;  // what the other end said before it went can still be read
    }
  }
  return bytes.empty();
}

void wait_readable(const std::vector<int>& fds, Deadline deadline) {
  std::vector<pollfd> waits;
  for (const int fd : fds) waits.push_back({fd, POLLIN, 0});
  poll(waits.data(), waits.size(), milliseconds_until(deadline));
}

}  // namespace crinn::gpu
