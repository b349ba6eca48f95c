// SPDX-License-Identifier: Apache-2.0
// crinn-eval build and crinn-eval search as a person would run them.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"
#include "crinn/eval/dataset.h"

namespace crinn::eval {
namespace {

const std::string kData = "synthetic:n=3000,d=16,clusters=8,metric=euclidean,seed=5,queries=100";

ProcessResult crinn_eval(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), CRINN_EVAL_PATH);
  ProcessOptions options;
  options.wall_seconds = 120;
  return run_process(arguments, options);
}

TEST(CrinnEvalIndex, BuildsAFileAndAnswersFromIt) {
  const TemporaryFolder folder;
  const std::string index = (folder.path() / "index.crinn").string();
  const ProcessResult built =
      crinn_eval({"build", "--dataset", kData, "--system", "champion", "--out", index, "--json"});
  ASSERT_EQ(built.exit_code, 0) << built.err;
  EXPECT_EQ(nlohmann::json::parse(built.out).at("base_count"), 3000);

  const ProcessResult found =
      crinn_eval({"search", "--index", index, "--queries", kData, "--k", "5", "--recall", "0.98"});
  ASSERT_EQ(found.exit_code, 0) << found.err;
  const Dataset dataset = load_dataset(kData);
  const GroundTruth truth =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 5, 1);
  std::istringstream lines(found.out);
  int right = 0, rows = 0;
  for (std::string line; std::getline(lines, line); ++rows) {
    std::istringstream ids(line);
    const auto row = truth.ids.begin() + rows * 5;
    for (int64_t id; ids >> id;) right += std::find(row, row + 5, id) != row + 5;
  }
  EXPECT_EQ(rows, 100);
  EXPECT_GE(right, 500 * 95 / 100);

  const std::string out = (folder.path() / "answers.ibin").string();
  const ProcessResult written =
      crinn_eval({"search", "--index", index, "--queries", kData, "--ef", "80", "--out", out});
  ASSERT_EQ(written.exit_code, 0) << written.err;
  EXPECT_TRUE(written.out.empty());
  EXPECT_EQ(std::filesystem::file_size(out), 8u + 100 * 10 * 8);
}

TEST(CrinnEvalIndex, IndexesEveryRowOfAFile) {
  const TemporaryFolder folder;
  std::string text(8, '\0');
  const uint32_t shape[2] = {300, 2};
  std::memcpy(text.data(), shape, 8);
  for (int i = 0; i < 300; ++i) {
    const float row[2] = {static_cast<float>(i), 1};
    text.append(reinterpret_cast<const char*>(row), sizeof row);
  }
  const std::string file = (folder.path() / "rows.fbin").string();
  const std::string index = (folder.path() / "new" / "rows.crinn").string();
  write_file_atomic(file, text);
  ASSERT_EQ(
      crinn_eval({"build", "--dataset", file, "--system", "baseline", "--out", index}).exit_code,
      0);
  const ProcessResult found =
      crinn_eval({"search", "--index", index, "--queries", file, "--k", "1", "--ef", "50"});
  ASSERT_EQ(found.exit_code, 0) << found.err;
  std::istringstream ids(found.out);
  int right = 0;
  for (int i = 0, id = 0; ids >> id; ++i) right += id == i;
  EXPECT_GE(right, 298);
  EXPECT_TRUE(found.out.ends_with("299\n")) << found.out;
}

TEST(CrinnEvalIndex, RefusesWhatItCannotServe) {
  const TemporaryFolder folder;
  const std::string index = (folder.path() / "index.crinn").string();
  EXPECT_EQ(crinn_eval({"build", "--dataset", kData}).exit_code, 2);
  EXPECT_EQ(crinn_eval({"search", "--index", index, "--queries", kData}).exit_code, 3);
  ASSERT_EQ(crinn_eval({"build", "--dataset", kData, "--out", index}).exit_code, 0);
  const ProcessResult narrow =
      crinn_eval({"search", "--index", index, "--queries",
                  "synthetic:n=100,d=7,clusters=3,metric=euclidean,seed=1,queries=10"});
  EXPECT_EQ(narrow.exit_code, 3);
  EXPECT_NE(narrow.err.find("7 dimensions"), std::string::npos) << narrow.err;
  EXPECT_EQ(
      crinn_eval({"search", "--index", index, "--queries", kData, "--out", "x.csv"}).exit_code, 2);
  EXPECT_EQ(
      crinn_eval({"search", "--index", index, "--queries", kData, "--ef", "20", "--recall", "0.9"})
          .exit_code,
      2);
}

}  // namespace
}  // namespace crinn::eval
