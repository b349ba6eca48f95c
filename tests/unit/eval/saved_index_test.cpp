// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/saved_index.h"

#include <gtest/gtest.h>

#include <cstring>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/eval/dataset.h"

namespace crinn::eval {
namespace {

const Dataset& data() {
  static const Dataset set =
      load_dataset("synthetic:n=3000,d=24,clusters=12,metric=angular,seed=3,queries=50");
  return set;
}

std::unique_ptr<SavedIndex> build(std::string_view system) {
  return build_index(system, data().base.view(), data().metric, {16, 100, 5}, 2);
}

std::vector<int32_t> answers(const SavedIndex& index, int ef) {
  std::vector<int32_t> ids(static_cast<std::size_t>(data().queries.rows() * 10));
  index.search(data().queries.view(), 10, ef, 2, ids.data());
  return ids;
}

TEST(SavedIndex, OpensAsTheSystemThatWroteItWithTheSameAnswers) {
  const TemporaryFolder folder;
  for (const char* system : {"baseline", "champion"}) {
    const auto built = build(system);
    built->save(folder.path() / system);
    const auto opened = open_index(folder.path() / system, 1);
    EXPECT_EQ(opened->system(), system);
    EXPECT_EQ(opened->metric(), ann::Metric::kCosine);
    EXPECT_EQ(opened->params().degree, 16);
    EXPECT_EQ(opened->base().rows, 3000);
    EXPECT_EQ(answers(*opened, 60), answers(*built, 60)) << system;
  }
}

TEST(SavedIndex, RefusesASystemOrModulesThatItDoesNotKnow) {
  EXPECT_THROW(build("champignon"), Error);
  const TemporaryFolder folder;
  const auto path = folder.path() / "index";
  build("baseline")->save(path);
  ann::IndexData foreign = ann::load_index(path);
  foreign.search = "crinn::ann::elsewhere::Search";
  ann::save_index(path, foreign);
  try {
    open_index(path, 1);
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kData);
    EXPECT_NE(std::strstr(error.what(), "elsewhere"), nullptr) << error.what();
    EXPECT_NE(std::strstr(error.what(), path.c_str()), nullptr) << error.what();
  }
}

TEST(TuneEffort, FindsTheLeastEffortThatReachesTheRecall) {
  const auto index = build("baseline");
  const TunedEffort low = tune_effort(*index, 10, 0.80, 300, 1, 2);
  const TunedEffort high = tune_effort(*index, 10, 0.99, 300, 1, 2);
  EXPECT_GE(low.recall, 0.80);
  EXPECT_GE(high.recall, 0.99);
  EXPECT_GT(high.ef, low.ef);
  EXPECT_LT(high.ef, 3000);
  // What it promises of base vectors holds of others drawn alike, within the sample's error.
  const TunedEffort other = tune_effort(*index, 10, 0.99, 300, 2, 2);
  EXPECT_NEAR(other.ef, high.ef, high.ef);
}

TEST(TuneEffort, CountsDuplicatesAsTheNeighboursTheyAre) {
  Matrix base(400, 3);
  for (int64_t i = 0; i < base.rows(); ++i) {
    for (int64_t j = 0; j < 3; ++j) base.row(i)[j] = static_cast<float>((i / 8) * (j + 1));
  }
  const auto index = build_index("baseline", base.view(), ann::Metric::kL2, {}, 1);
  EXPECT_GE(tune_effort(*index, 5, 0.95, 100, 1, 1).recall, 0.95);
}

TEST(TuneEffort, RefusesWhatNoEffortCanReach) {
  const auto index = build("baseline");
  EXPECT_THROW(tune_effort(*index, 10, 1.5, 300, 1, 1), Error);
  EXPECT_THROW(tune_effort(*index, 3000, 0.9, 300, 1, 1), Error);
}

}  // namespace
}  // namespace crinn::eval
