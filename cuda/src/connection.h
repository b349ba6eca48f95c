// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "crinn/base/error.h"
#include "socket.h"

namespace crinn::gpu {

/// What ranks say to each other.
enum class FrameKind : uint32_t {
  kAccepted = 1,  ///< to one that came: it belongs to this run
  kOtherRun,      ///< to one that came: it does not
  kAllHere,       ///< every rank has come
  kData,          ///< a part of an all_gather, or its result
  kLeft,          ///< the sender makes no more calls
  kFailed,        ///< a text: why the task ends
};

struct FrameHeader {
  FrameKind kind{};
  uint32_t category = 0;  ///< of kFailed: an ErrorCategory
  uint64_t bytes = 0;     ///< that follow
};

/// A socket between two ranks that carries frames: a header, then its bytes.
class Connection {
 public:
  Connection() = default;
  explicit Connection(Socket socket) : socket_(std::move(socket)) {}

  bool open() const { return socket_.open(); }
  int fd() const { return socket_.fd(); }
  void close() { socket_.close(); }

  /// The header of the frame that is due, once it is there; the same until the frame was taken.
  const FrameHeader* next();
  /// Moves the frame's bytes into `target` [bytes] as they come. True once, when all have.
  bool take(std::byte* target);
  /// Takes a kFailed frame. Throws it as an Error whose message begins with `prefix`.
  [[noreturn]] void throw_failure(const std::string& prefix);

  /// False where the other end is gone or does not read until the deadline.
  bool send(FrameKind kind, std::span<const std::byte> bytes, Deadline deadline);
  /// Tells why the task ends; whether it arrives is left open.
  void send_failure(ErrorCategory category, std::string_view text);

 private:
  bool send(const FrameHeader& header, std::span<const std::byte> bytes, Deadline deadline);

  Socket socket_;
  FrameHeader header_;
  std::size_t header_bytes_ = 0;  // of header_ that have come
  uint64_t taken_ = 0;            // of the bytes after it
};

}  // namespace crinn::gpu
