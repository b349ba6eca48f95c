// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <algorithm>

namespace crinn::gpu {
namespace {

constexpr uint64_t kMostText = 4096;
constexpr auto kMoment = std::chrono::seconds(2);  // for what is already on its way

}  // namespace

const FrameHeader* Connection::next() {
  if (header_bytes_ < sizeof header_) {
    const auto bytes = std::as_writable_bytes(std::span(&header_, 1));
    header_bytes_ += socket_.read(bytes.subspan(header_bytes_));
  }
  return header_bytes_ == sizeof header_ ? &header_ : nullptr;
}

bool Connection::take(std::byte* target) {
  if (taken_ < header_.bytes) {
    const auto left = static_cast<std::size_t>(header_.bytes - taken_);
    taken_ += socket_.read({target + taken_, left});
  }
  if (taken_ < header_.bytes) return false;
  header_bytes_ = 0;
  taken_ = 0;
  return true;
}

void Connection::throw_failure(const std::string& prefix) {
  const auto category = static_cast<ErrorCategory>(header_.category);
  std::string text(std::min(header_.bytes, kMostText), '\0');
  header_.bytes = text.size();
  const Deadline deadline = Clock::now() + kMoment;
  while (!take(reinterpret_cast<std::byte*>(text.data())) && open() && Clock::now() < deadline) {
    wait_readable({fd()}, deadline);
  }
  throw Error(category, prefix + text);
}

bool Connection::send(FrameKind kind, std::span<const std::byte> bytes, Deadline deadline) {
  return send(FrameHeader{kind, 0, bytes.size()}, bytes, deadline);
}

void Connection::send_failure(ErrorCategory category, std::string_view text) {
  text = text.substr(0, kMostText);
  send(FrameHeader{FrameKind::kFailed, static_cast<uint32_t>(category), text.size()},
       std::as_bytes(std::span(text)), Clock::now() + kMoment);
}

bool Connection::send(const FrameHeader& header, std::span<const std::byte> bytes,
                      Deadline deadline) {
  return socket_.write(std::as_bytes(std::span(&header, 1)), deadline) &&
         socket_.write(bytes, deadline);
}

}  // namespace crinn::gpu
