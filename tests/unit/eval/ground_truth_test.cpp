// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/ground_truth.h"

#include <gtest/gtest.h>

#include <limits>

#include "crinn/base/files.h"
#include "crinn/eval/truth_check.h"
#include "crinn/gpu/knn.h"
#include "data_files.h"

namespace crinn::eval {
namespace {

using data_files::expect_error;

Dataset small_dataset() {
  return load_dataset("synthetic:n=200,d=8,clusters=3,metric=euclidean,seed=1,queries=9");
}

std::filesystem::path only_file(const std::filesystem::path& folder) {
  const std::filesystem::directory_iterator files(folder);
  EXPECT_EQ(std::distance(begin(std::filesystem::directory_iterator(folder)), {}), 1);
  return files->path();
}

/// The truth by the CPU with a cache in `folder`, and whether it came from there.
std::pair<GroundTruth, bool> cached(Dataset dataset, const std::filesystem::path& folder,
                                    bool recompute = false) {
  const TruthOrigin origin =
      prepare_truth(dataset, TruthSource::kCpu, 5, 1, folder,
                    {.memory_bytes = 0, .devices = {0}, .recompute = recompute});
  EXPECT_EQ(origin.source, TruthSource::kCpu);
  return {std::move(dataset.truth), origin.cached};
}

/// Another base under the same hash: only the cache can give the answer of the first.
Dataset changed_dataset() {
  Dataset dataset = small_dataset();
  for (int64_t i = 0; i < dataset.base.rows(); ++i) dataset.base.row(i)[0] += 1;
  return dataset;
}

TEST(GroundTruthCache, ReadsBackWhatItComputed) {
  const TemporaryFolder folder;
  const auto [first, known] = cached(small_dataset(), folder.path());
  EXPECT_FALSE(known);
  const auto [second, known_then] = cached(changed_dataset(), folder.path());
  EXPECT_TRUE(known_then);
  EXPECT_EQ(first.ids, second.ids);
  EXPECT_EQ(first.distances, second.distances);
}

TEST(GroundTruthCache, ServesEverySourceThatFindsNeighbours) {
  const TemporaryFolder folder;
  const GroundTruth first = cached(small_dataset(), folder.path()).first;
  Dataset dataset = changed_dataset();
  // Needs no device: the neighbours are known.
  const TruthOrigin origin = prepare_truth(dataset, TruthSource::kGpu, 5, 1, folder.path());
  EXPECT_EQ(origin.source, TruthSource::kGpu);
  EXPECT_TRUE(origin.cached);
  EXPECT_EQ(dataset.truth.ids, first.ids);
}

TEST(GroundTruthCache, IsNotReadButWrittenOnRecomputation) {
  const TemporaryFolder folder;
  const GroundTruth stale = cached(changed_dataset(), folder.path()).first;
  const auto [found, known] = cached(small_dataset(), folder.path(), true);
  EXPECT_FALSE(known);
  EXPECT_NE(found.distances, stale.distances);
  EXPECT_EQ(cached(changed_dataset(), folder.path()).first.distances, found.distances);
}

TEST(GroundTruthCache, ComputesAgainWhenTheFileIsDamaged) {
  const TemporaryFolder folder;
  const GroundTruth expected = cached(small_dataset(), folder.path()).first;
  const auto path = only_file(folder.path());
  const std::string content = read_file(path);
  for (const std::size_t at : {std::size_t{0}, std::size_t{20}, content.size() - 1}) {
    std::string damaged = content;
    damaged[at] ^= 1;
    write_file_atomic(path, damaged);
    EXPECT_EQ(cached(small_dataset(), folder.path()).first.ids, expected.ids);
    EXPECT_EQ(read_file(path), content) << "not repaired, byte " << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{30}, content.size() - 1}) {
    write_file_atomic(path, content.substr(0, length));
    EXPECT_EQ(cached(small_dataset(), folder.path()).first.ids, expected.ids);
  }
}

TEST(GroundTruthCache, WorksWhereItCannotWrite) {
  EXPECT_EQ(cached(small_dataset(), "/proc/nowhere").first.k, 5);
  EXPECT_EQ(cached(small_dataset(), "").first.k, 5);
}

TEST(PrepareTruth, TakesTheFirstColumnsOfTheFile) {
  Dataset dataset = small_dataset();
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 20, 1);
  const GroundTruth expected =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 7, 1);
  prepare_truth(dataset, TruthSource::kFile, 7, 1, "");
  EXPECT_EQ(dataset.truth.k, 7);
  EXPECT_EQ(dataset.truth.ids, expected.ids);
  EXPECT_EQ(dataset.truth.distances, expected.distances);
}

TEST(PrepareTruth, SaysHowToGoOnWithoutStoredTruth) {
  const TemporaryFolder folder;
  Dataset dataset = small_dataset();
  expect_error([&] { prepare_truth(dataset, TruthSource::kFile, 7, 1, folder.path()); },
               {"0 neighbours", "k = 7", "--groundtruth cpu"});
  EXPECT_THROW(prepare_truth(dataset, TruthSource::kCpu, 0, 1, folder.path()), Error);
  prepare_truth(dataset, TruthSource::kAuto, 7, 1, folder.path());
  EXPECT_EQ(dataset.truth.k, 7);
}

TEST(PrepareTruth, OnTheGpuFailsAsADeviceErrorOrAgreesWithTheCpu) {
  const TemporaryFolder folder;
  Dataset dataset = small_dataset();
  if (!gpu::device_status().available) {
    try {
      prepare_truth(dataset, TruthSource::kGpu, 7, 1, folder.path());
      FAIL() << "no error without a device";
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), ErrorCategory::kDevice);
      EXPECT_NE(std::string(error.what()).find(gpu::device_status().reason), std::string::npos);
    }
    return;
  }
  prepare_truth(dataset, TruthSource::kGpu, 7, 1, folder.path());
  EXPECT_EQ(dataset.truth.ids,
            exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 7, 1).ids);
}

TEST(GroundTruth, IsWrittenInTheBigAnnLayout) {
  const TemporaryFolder folder;
  const GroundTruth truth{
      2, 2, {3, 1, 0, -1}, {0.5, 2, 1, std::numeric_limits<double>::infinity()}};
  write_ground_truth(truth, ann::Metric::kL2, folder.path() / "t.ibin");
  EXPECT_EQ(read_file(folder.path() / "t.ibin"),
            (data_files::bin<uint32_t, int32_t>(2, 2, {3, 1, 0, -1}) +
             data_files::bytes<float>({0.5f, 2, 1, std::numeric_limits<float>::infinity()})));
  expect_error([&] { write_ground_truth(truth, ann::Metric::kL2, folder.path() / "t.txt"); },
               {"t.txt", ".ibin"});
}

TEST(GroundTruth, IsWrittenAsCuvsBenchsPairThatComesBack) {
  const TemporaryFolder folder;
  const GroundTruth truth{2, 2, {3, 1, 0, 2}, {0.5, 2, 1, 4}};
  write_ground_truth(truth, ann::Metric::kL2, folder.path() / "groundtruth.neighbors.ibin");
  EXPECT_EQ(read_file(folder.path() / "groundtruth.neighbors.ibin"),
            (data_files::bin<uint32_t, int32_t>(2, 2, {3, 1, 0, 2})));
  EXPECT_EQ(read_file(folder.path() / "groundtruth.distances.fbin"),
            (data_files::bin<uint32_t, float>(2, 2, {0.5f, 2, 1, 4})));
}

TEST(VerifyTruth, FindsTheQueryThatIsWrong) {
  Dataset dataset = small_dataset();
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 7, 1);
  Verification found = verify_truth(dataset, 5, 1, 2);
  EXPECT_EQ(found.queries, 5);
  EXPECT_EQ(found.wrong, 0);
  EXPECT_EQ(verify_truth(dataset, 1000, 1, 1).queries, dataset.truth.queries);

  const GroundTruth right = dataset.truth;
  dataset.truth.distances[3 * 7 + 2] *= 1 + 1e-15;
  found = verify_truth(dataset, 1000, 1, 2);
  EXPECT_EQ(found.wrong, 1);
  EXPECT_EQ(found.first_wrong, 3);
  dataset.truth = right;
  std::swap(dataset.truth.ids[5 * 7], dataset.truth.ids[5 * 7 + 1]);
  EXPECT_EQ(verify_truth(dataset, 1000, 1, 1).first_wrong, 5);
}

TEST(VerifyTruth, TellsATieFromAMistake) {
  Dataset dataset = small_dataset();
  for (int64_t j = 0; j < dataset.base.cols(); ++j) dataset.base.row(1)[j] = dataset.base.row(0)[j];
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 200, 1);
  for (int64_t& id : dataset.truth.ids) id = id == 0 ? 1 : id == 1 ? 0 : id;
  const Verification found = verify_truth(dataset, 1000, 1, 1);
  EXPECT_EQ(found.wrong, 0);
  EXPECT_EQ(found.tied, dataset.truth.queries);
  // One of the two twice: the same distances, but a neighbour is missing.
  for (int64_t& id : dataset.truth.ids) id = id == 0 ? 1 : id;
  EXPECT_EQ(verify_truth(dataset, 1000, 1, 1).wrong, dataset.truth.queries);
}

TEST(VerifyTruth, LooksAtPlacesBeyondTheLastRow) {
  Dataset dataset = small_dataset();
  const auto k = static_cast<int>(dataset.base.rows()) + 3;
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, k, 1);
  EXPECT_EQ(verify_truth(dataset, 1000, 1, 1).wrong, 0);
  dataset.truth.ids[static_cast<std::size_t>(k) - 1] = 0;
  EXPECT_EQ(verify_truth(dataset, 1000, 1, 1).wrong, 1);
}

TEST(PrepareTruth, WithinABudgetGivesTheSameAndNamesTheLeast) {
  const TemporaryFolder folder;
  Dataset dataset = load_dataset("synthetic:n=9000,d=64,clusters=3,metric=angular,seed=1");
  const GroundTruth expected =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 7, 1);
  std::string message;
  try {
    prepare_truth(dataset, TruthSource::kCpu, 7, 1, folder.path(), {1000, {0}});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    message = error.what();
  }
  const std::size_t at = message.find("the least here is ");
  ASSERT_NE(at, std::string::npos) << message;
  const int64_t least = std::stoll(message.substr(at + 18)) << 20;
  prepare_truth(dataset, TruthSource::kCpu, 7, 1, folder.path(), {least, {0}});
  EXPECT_EQ(dataset.truth.ids, expected.ids);
  EXPECT_EQ(dataset.truth.distances, expected.distances);
}

TEST(GroundTruth, HandsOutTheDistanceOfTheKthNeighbour) {
  const GroundTruth truth{2, 2, {3, 1, 0, 2}, {0.5, 2, 1, 4}};
  EXPECT_EQ(kth_distances(truth, 2), (std::vector<double>{2, 4}));
  EXPECT_EQ(kth_distances(truth, 1), (std::vector<double>{0.5, 1}));
  EXPECT_THROW(kth_distances(truth, 3), Error);
}

TEST(GroundTruth, NamesItsSources) {
  EXPECT_EQ(parse_truth_source("gpu"), TruthSource::kGpu);
  EXPECT_EQ(parse_truth_source("auto"), TruthSource::kAuto);
  EXPECT_EQ(to_string(TruthSource::kFile), "file");
  EXPECT_FALSE(parse_truth_source("disk"));
}

}  // namespace
}  // namespace crinn::eval
