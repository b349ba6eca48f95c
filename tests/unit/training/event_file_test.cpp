// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/event_file.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "crinn/base/files.h"

namespace crinn::train {
namespace {

TEST(Crc32c, MatchesThePublishedCheckValues) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
}

uint32_t masked(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xA282EAD8u; }

/// The payloads of a TFRecord file; checks both checksums of every record.
std::vector<std::string> records(const std::string& bytes) {
  std::vector<std::string> out;
  std::size_t at = 0;
  const auto word = [&](std::size_t offset) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + offset, 4);
    return value;
  };
  while (at + 12 <= bytes.size()) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    EXPECT_EQ(word(at + 8), masked(std::string_view(bytes).substr(at, 8)));
    out.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(word(at + 12 + length), masked(out.back()));
    at += 16 + length;
  }
  EXPECT_EQ(at, bytes.size());
  return out;
}

TEST(EventFile, FramesAVersionAndOneEventAStep) {
  const TemporaryFolder folder;
  EventFile file(folder.path(), 0);
  const std::vector<std::pair<std::string, double>> values = {{"reward", 0.5}, {"kl", -2}};
  file.scalars(300, values);
  const auto events = records(read_file(file.path()));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[0].find("brain.Event:2"), std::string::npos);
  // step (field 2, varint 300), then a summary with tag and fixed32 value.
  EXPECT_NE(events[1].find(std::string("\x10\xAC\x02\x2A", 4)), std::string::npos);
  float half = 0.5f;
  std::string value = "\x0A\x06reward\x15" + std::string(reinterpret_cast<char*>(&half), 4);
  EXPECT_NE(events[1].find(value), std::string::npos);
}

TEST(EventFile, StartsASessionWhenResumed) {
  const TemporaryFolder folder;
  EventFile file(folder.path(), 5);
  const auto events = records(read_file(file.path()));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[1].find(std::string("\x10\x05\x3A\x02\x08\x01", 6)), std::string::npos);
}

}  // namespace
}  // namespace crinn::train
