// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "crinn/base/error.h"

namespace crinn::train {

namespace {

// TFRecord stores a CRC rotated and offset, so that a CRC over data that holds CRCs stays sound.
uint32_t masked_crc(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xA282EAD8u; }

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  static_assert(std::endian::native == std::endian::little);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  return bytes + static_cast<char>(value);
}

// Protocol-buffer wire types: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
std::string field(int number, uint64_t value) {
  return varint(static_cast<uint64_t>(number) << 3) + varint(value);
}
std::string field(int number, double value) {
  return varint(static_cast<uint64_t>(number) << 3 | 1) + little_endian(value);
}
std::string field(int number, float value) {
  return varint(static_cast<uint64_t>(number) << 3 | 5) + little_endian(value);
}
std::string field(int number, std::string_view value) {
  return varint(static_cast<uint64_t>(number) << 3 | 2) + varint(value.size()) + std::string(value);
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

uint32_t crc32c(std::string_view data) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0);
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = ~0u;
  for (const char c : data) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 255];
  return ~crc;
}

struct EventFile::Impl {
  std::filesystem::path path;
  std::FILE* file = nullptr;

  ~Impl() {
    if (file) std::fclose(file);
  }
  void record(const std::string& event) {
    const std::string length = little_endian(static_cast<uint64_t>(event.size()));
    const std::string frame =
        length + little_endian(masked_crc(length)) + event + little_endian(masked_crc(event));
    if (std::fwrite(frame.data(), 1, frame.size(), file) != frame.size() || std::fflush(file)) {
      throw Error(ErrorCategory::kData, fmt::format("event_file: cannot write {}: {}",
                                                    path.string(), std::strerror(errno)));
    }
  }
};

EventFile::EventFile(const std::filesystem::path& folder, int64_t first_step) : impl_(new Impl) {
  std::filesystem::create_directories(folder);
  char host[256] = "host";
  gethostname(host, sizeof host - 1);
  impl_->path = folder / fmt::format("events.out.tfevents.{}.{}.{}",
                                     static_cast<int64_t>(wall_time()), host, getpid());
  impl_->file = std::fopen(impl_->path.c_str(), "ab");
  if (!impl_->file) {
    throw Error(ErrorCategory::kData, fmt::format("event_file: cannot create {}: {}",
                                                  impl_->path.string(), std::strerror(errno)));
  }
  impl_->record(field(1, wall_time()) + field(3, "brain.Event:2"));
  if (first_step > 0) {
    const std::string session_start = field(1, uint64_t{1});  // SessionLog.status = START
    impl_->record(field(1, wall_time()) + field(2, static_cast<uint64_t>(first_step)) +
                  field(7, session_start));
  }
}
EventFile::~EventFile() = default;
EventFile::EventFile(EventFile&&) noexcept = default;

void EventFile::scalars(int64_t step, std::span<const std::pair<std::string, double>> values) {
  std::string summary;
  for (const auto& [tag, value] : values) {
    summary += field(
        1, std::string_view(field(1, std::string_view(tag)) + field(2, static_cast<float>(value))));
  }
  impl_->record(field(1, wall_time()) + field(2, static_cast<uint64_t>(step)) +
                field(5, std::string_view(summary)));
}

const std::filesystem::path& EventFile::path() const { return impl_->path; }

}  // namespace crinn::train
