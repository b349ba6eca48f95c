// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {
namespace {

std::string file_with(const std::string& header, std::size_t data_bytes) {
  std::string text(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(text.data(), &size, sizeof size);
  return text + header + std::string(data_bytes, 'x');
}

class Safetensors : public testing::Test {
 protected:
  std::filesystem::path path() const { return folder_.path() / "some.safetensors"; }

  std::string message(const std::string& content) const {
    write_file_atomic(path(), content);
    try {
      SafetensorsFile file(path());
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), ErrorCategory::kData);
      EXPECT_NE(std::string(error.what()).find("some.safetensors"), std::string::npos);
      return error.what();
    }
    return "";
  }

  void expect_fault(const std::string& content, const std::string& part) const {
    EXPECT_NE(message(content).find(part), std::string::npos) << message(content);
  }

  TemporaryFolder folder_;
};

TEST_F(Safetensors, ReadsWhatItWrote) {
  const std::vector<float> floats{1.5f, -2.0f, 3.0f, 0.0f, 5.0f, 6.0f};
  const std::vector<int64_t> longs{-1};
  const std::vector<uint8_t> bytes{7, 8, 9};
  write_safetensors(path(),
                    {{"b.weight", {"F32", {2, 3}, std::as_bytes(std::span(floats))}},
                     {"a", {"U8", {3}, std::as_bytes(std::span(bytes))}},
                     {"scalar", {"I64", {}, std::as_bytes(std::span(longs))}},
                     {"none", {"BF16", {0, 4}, {}}}},
                    {{"step", "17"}});
  const SafetensorsFile file(path());
  EXPECT_EQ(file.metadata().at("step"), "17");
  ASSERT_EQ(file.entries().size(), 4u);
  const SafetensorsEntry& b = file.entries().at("b.weight");
  EXPECT_EQ(b.dtype, "F32");
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 3}));
  ASSERT_EQ(b.data.size(), floats.size() * sizeof(float));
  EXPECT_EQ(std::memcmp(b.data.data(), floats.data(), b.data.size()), 0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data.data()) % alignof(float), 0u);
  EXPECT_EQ(file.entries().at("a").data[2], std::byte{9});
  EXPECT_TRUE(file.entries().at("scalar").shape.empty());
  EXPECT_TRUE(file.entries().at("none").data.empty());
}

TEST_F(Safetensors, NamesTheTensorAtFault) {
  const auto tensor = [](const std::string& rest) { return R"({"w": {)" + rest + "}}"; };
  expect_fault(file_with(tensor(R"("dtype": "F32", "shape": [2], "data_offsets": [0, 4])"), 4),
               "tensor w: 4 bytes do not hold its shape");
  expect_fault(file_with(tensor(R"("dtype": "F33", "shape": [1], "data_offsets": [0, 4])"), 4),
               "unknown dtype F33");
  expect_fault(file_with(tensor(R"("dtype": "F32", "shape": [1], "data_offsets": [4, 8])"), 4),
               "tensor w: offsets [4, 8)");
  expect_fault(file_with(tensor(R"("dtype": "F32", "shape": [1], "data_offsets": [4, 0])"), 4),
               "tensor w: offsets [4, 0)");
  expect_fault(file_with(tensor(R"("dtype": "F32", "shape": [-1], "data_offsets": [0, 4])"), 4),
               "tensor w");
  expect_fault(file_with(tensor(R"("dtype": "F32", "shape": [4294967296, 4294967296],
                                "data_offsets": [0, 0])"),
                         0),
               "tensor w");
  expect_fault(file_with(tensor(R"("dtype": "F32", "shape": [1])"), 4), "tensor w");
  expect_fault(file_with(R"({"w": 3})", 0), "tensor w");
}

TEST_F(Safetensors, RefusesHolesOverlapsAndTruncation) {
  const auto two = [](int a, int b, int c, int d) {
    const auto tensor = [](int begin, int end) {
      return R"({"dtype": "U8", "shape": [)" + std::to_string(end - begin) +
             R"(], "data_offsets": [)" + std::to_string(begin) + ", " + std::to_string(end) + "]}";
    };
    return R"({"v": )" + tensor(a, b) + R"(, "w": )" + tensor(c, d) + "}";
  };
  EXPECT_EQ(message(file_with(two(0, 4, 4, 6), 6)), "");
  expect_fault(file_with(two(0, 4, 3, 6), 6), "tensor w: begins at 3");
  expect_fault(file_with(two(0, 4, 5, 6), 6), "tensor w: begins at 5");
  expect_fault(file_with(two(0, 4, 4, 6), 7), "7 bytes of data");
  expect_fault(file_with(two(0, 4, 4, 6), 5), "tensor w: offsets");
  expect_fault("short", "too few");
  expect_fault(file_with("{not json", 0), "not a JSON object");
  expect_fault(std::string(8, '\xff') + "{}", "a header of");
  expect_fault(file_with(R"({"__metadata__": {"step": 1}})", 0), "__metadata__");
}

TEST_F(Safetensors, RefusesToWriteAShapeThatItsBytesDoNotHold) {
  const std::vector<float> floats(3);
  EXPECT_THROW(
      write_safetensors(path(), {{"w", {"F32", {4}, std::as_bytes(std::span(floats))}}}, {}),
      Error);
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(Safetensors, NamesAFileThatIsNotThere) {
  EXPECT_THROW(SafetensorsFile(folder_.path() / "absent.safetensors"), Error);
}

}  // namespace
}  // namespace crinn::train
