// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/files.h"

#include <gtest/gtest.h>

#include "crinn/base/error.h"

namespace crinn {
namespace {

TEST(Files, AtomicWriteReplacesAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "deep" / "file.txt";
  write_file_atomic(path, "one");
  write_file_atomic(path, std::string("two\0three", 9));
  EXPECT_EQ(read_file(path), std::string("two\0three", 9));
  int entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path.parent_path()))
    ++entries;
  EXPECT_EQ(entries, 1);
}

TEST(AtomicFile, KeepsTheOldContentUntilCommitAndLeavesNothingWithoutIt) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  write_file_atomic(path, "old");
  {
    AtomicFile file(path);
    file.write("new", 3);
    EXPECT_EQ(read_file(path), "old");
  }
  EXPECT_EQ(read_file(path), "old");
  AtomicFile file(path);
  file.write("ne", 2);
  file.write("w", 1);
  file.commit();
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Files, AMissingFileIsNamed) {
  try {
    read_file("/nonexistent/file");
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kData);
    EXPECT_NE(std::string(error.what()).find("/nonexistent/file"), std::string::npos);
  }
}

TEST(TemporaryFolder, IsGoneAfterwards) {
  std::filesystem::path path;
  {
    const TemporaryFolder folder("crinn-test");
    path = folder.path();
    write_file_atomic(path / "a", "b");
    EXPECT_TRUE(std::filesystem::exists(path / "a"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace crinn
