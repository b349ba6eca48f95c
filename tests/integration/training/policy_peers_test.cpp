// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

#include "crinn/base/files.h"
#include "crinn/train/policy.h"
#include "crinn/train/safetensors.h"

namespace crinn::train {
namespace {

constexpr int kNotInstalled = 77;

// Exit code of a script beside this file; its output goes to FOLDER/output.txt.
int run_python(const std::string& script, const std::string& arguments,
               const std::filesystem::path& folder) {
  const std::string command = "python3 '" CRINN_TEST_SCRIPTS "/" + script + "' " + arguments +
                              " '" + folder.string() + "' > '" + (folder / "output.txt").string() +
                              "' 2>&1";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SafetensorsPeer, ReadsOurFilesAndWritesOnesThatWeRead) {
  const TemporaryFolder folder;
  const std::array<float, 6> floats{0, 0.25f, 0.5f, 0.75f, 1, 1.25f};
  const std::array<uint8_t, 3> bytes{7, 8, 9};
  const std::array<int64_t, 1> scalar{-5};
  write_safetensors(folder.path() / "ours.safetensors",
                    {{"b.weight", {"F32", {2, 3}, std::as_bytes(std::span(floats))}},
                     {"bytes", {"U8", {3}, std::as_bytes(std::span(bytes))}},
                     {"empty", {"F16", {0, 4}, {}}},
                     {"scalar", {"I64", {}, std::as_bytes(std::span(scalar))}}},
                    {{"step", "17"}});
  const int code = run_python("safetensors_peer.py", "", folder.path());
  const std::string output = read_file(folder.path() / "output.txt");
  if (code == kNotInstalled) GTEST_SKIP() << "python3 cannot import it: " << output;
  ASSERT_EQ(code, 0) << output;

  const SafetensorsFile theirs(folder.path() / "theirs.safetensors");
  EXPECT_EQ(theirs.metadata().at("from"), "python");
  const SafetensorsEntry& x = theirs.entries().at("x");
  EXPECT_EQ(x.dtype, "F64");
  std::array<double, 10> values{};
  ASSERT_EQ(x.data.size(), sizeof values);
  std::memcpy(values.data(), x.data.data(), sizeof values);
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], static_cast<double>(i));
  EXPECT_EQ(theirs.entries().at("half").shape, (std::vector<int64_t>{3, 1}));
}

class TransformersPeer : public testing::TestWithParam<const char*> {};

TEST_P(TransformersPeer, HasOurLogProbabilities) {
  const TemporaryFolder folder;
  const int code = run_python("transformers_peer.py", GetParam(), folder.path());
  const std::string output = read_file(folder.path() / "output.txt");
  if (code == kNotInstalled) GTEST_SKIP() << "python3 cannot import it: " << output;
  ASSERT_EQ(code, 0) << output;

  std::vector<int32_t> text;
  std::vector<double> expected;
  std::ifstream lines(folder.path() / "expected.txt");
  int32_t token = 0;
  double log_prob = 0;
  while (lines >> token >> log_prob) {
    text.push_back(token);
    expected.push_back(log_prob);
  }
  ASSERT_EQ(text.size(), 59u);
  Policy policy(read_file(folder.path() / "config.json"), 3);
  policy.load(folder.path());
  const std::vector<float> found = policy.log_probs({0}, text, nullptr, 1.0);
  double worst = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    worst = std::max(worst, std::abs(found[i] - expected[i]));
  }
  std::cout << GetParam() << ": largest difference " << worst << ", transformers " << output;
  EXPECT_LT(worst, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Families, TransformersPeer, testing::Values("qwen3", "qwen2", "llama"));

}  // namespace
}  // namespace crinn::train
