// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/archive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {
namespace {

harness::Measurement measurement(uint64_t seed) {
  harness::Measurement m;
  m.outcome = harness::Outcome::kDoesNotCompile;
  m.stage = harness::Stage::kCompile;
  m.evidence = "error: 'x' was not declared";
  m.machine = "cpu";
  m.seed = seed;
  return m;
}

CandidateRow row(int64_t step, int slot) {
  CandidateRow r;
  r.step = step;
  r.slot = slot;
  r.source = "struct Search {};";
  r.completion = "pool=linear";
  r.parents = {1, 2};
  r.outcome = harness::Outcome::kValid;
  r.stage = harness::Stage::kDone;
  r.reward = 0.25;
  r.ratio = 1.3;
  r.ratio_low = 1.2;
  r.ratio_high = 1.4;
  r.ratio_error = std::nan("");
  r.seed = 0xFFFFFFFFFFFFFFFFull;
  return r;
}

std::string error_of(const std::filesystem::path& file) {
  try {
    Archive archive(file);
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kData);
    return error.what();
  }
}

TEST(Archive, GivesBackWhatItWasGivenAfterReopening) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "archive.sqlite";
  {
    Archive archive(file);
    CandidateRow first = row(1, 0);
    EXPECT_EQ(archive.add(first), 1);
    archive.store("key", measurement(7));
  }
  Archive archive(file);
  const auto rows = archive.candidates();
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].parents, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(rows[0].completion, "pool=linear");
  EXPECT_EQ(rows[0].outcome, harness::Outcome::kValid);
  EXPECT_EQ(rows[0].reward, 0.25);
  EXPECT_EQ(rows[0].seed, 0xFFFFFFFFFFFFFFFFull);
  EXPECT_TRUE(std::isnan(rows[0].ratio_error));
  const auto found = archive.find("key");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->evidence, "error: 'x' was not declared");
  EXPECT_EQ(found->seed, 7u);
  EXPECT_FALSE(archive.find("other"));
}

TEST(Archive, KeepsTheFirstMeasurementOfAKey) {
  const TemporaryFolder folder;
  Archive archive(folder.path() / "a");
  archive.store("key", measurement(1));
  archive.store("key", measurement(2));
  EXPECT_EQ(archive.find("key")->seed, 1u);
  archive.store("key", measurement(3), true);
  EXPECT_EQ(archive.find("key")->seed, 3u);
  EXPECT_EQ(archive.measurements(), 1);
}

TEST(Archive, ForgetsLaterCandidatesButNoMeasurement) {
  const TemporaryFolder folder;
  Archive archive(folder.path() / "a");
  for (int step = 1; step <= 3; ++step) {
    CandidateRow r = row(step, 0);
    archive.add(r);
  }
  archive.store("key", measurement(1));
  archive.truncate_after(1);
  EXPECT_EQ(archive.candidates().size(), 1u);
  EXPECT_EQ(archive.measurements(), 1);
  CandidateRow again = row(2, 0);
  EXPECT_EQ(archive.add(again), 2) << "ids go on as if the later steps had not been";
}

TEST(Archive, RefusesTwoCandidatesInOneSlot) {
  const TemporaryFolder folder;
  Archive archive(folder.path() / "a");
  CandidateRow a = row(1, 0), b = row(1, 0);
  archive.add(a);
  EXPECT_THROW(archive.add(b), Error);
}

TEST(Archive, ReadsWhileAnotherConnectionWrites) {
  const TemporaryFolder folder;
  Archive writer(folder.path() / "a"), reader(folder.path() / "a");
  CandidateRow a = row(1, 0);
  writer.add(a);
  EXPECT_EQ(reader.candidates().size(), 1u);
}

TEST(Archive, ImportsMeasurementsThatItLacks) {
  const TemporaryFolder folder;
  Archive from(folder.path() / "from"), to(folder.path() / "to");
  from.store("a", measurement(1));
  from.store("b", measurement(2));
  to.store("a", measurement(3));
  EXPECT_EQ(to.import_measurements(folder.path() / "from"), 1);
  EXPECT_EQ(to.find("a")->seed, 3u);
  EXPECT_EQ(to.find("b")->seed, 2u);
  EXPECT_THROW(to.import_measurements(folder.path() / "missing"), Error);
}

TEST(Archive, NamesAFileThatIsNoDatabase) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "text.sqlite";
  std::ofstream(file) << std::string(5000, 'x');
  EXPECT_NE(error_of(file).find("text.sqlite"), std::string::npos) << error_of(file);
}

TEST(Archive, RefusesAForeignDatabaseAndAnotherVersion) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "archive.sqlite";
  { Archive archive(file); }
  // The header's big-endian words: user_version at 60, application_id at 68.
  const auto patch = [&](int offset, char value) {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(offset + 3);
    out.put(value);
  };
  std::filesystem::remove(file.string() + "-wal");
  patch(60, 9);
  EXPECT_NE(error_of(file).find("version 9"), std::string::npos) << error_of(file);
  patch(68, 1);
  EXPECT_NE(error_of(file).find("not an archive"), std::string::npos) << error_of(file);
}

TEST(Archive, ReportsACorruptPage) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "archive.sqlite";
  {
    Archive archive(file);
    for (int i = 0; i < 200; ++i) {
      CandidateRow r = row(i, 0);
      r.source = std::string(3000, 'x');
      archive.add(r);
    }
  }
  const auto size = std::filesystem::file_size(file);
  ASSERT_GT(size, 100000u);
  {
    std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(8192);
    out << std::string(60000, '\xAA');
  }
  EXPECT_NE(error_of(file), "");
}

}  // namespace
}  // namespace crinn::train
