// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/ground_truth.h"

#include <gtest/gtest.h>

#include "crinn/base/files.h"
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

TEST(GroundTruthCache, ReadsBackWhatItComputed) {
  const TemporaryFolder folder;
  Dataset dataset = small_dataset();
  const GroundTruth first = cached_exact_knn(dataset, 5, 1, folder.path());
  // Another base under the same hash: only the cache can give the first answer.
  dataset.base.row(0)[0] = 100;
  const GroundTruth second = cached_exact_knn(dataset, 5, 1, folder.path());
  EXPECT_EQ(first.ids, second.ids);
  EXPECT_EQ(first.distances, second.distances);
}

TEST(GroundTruthCache, ComputesAgainWhenTheFileIsDamaged) {
  const TemporaryFolder folder;
  const Dataset dataset = small_dataset();
  const GroundTruth expected = cached_exact_knn(dataset, 5, 1, folder.path());
  const auto path = only_file(folder.path());
  const std::string content = read_file(path);
  for (const std::size_t at : {std::size_t{0}, std::size_t{20}, content.size() - 1}) {
    std::string damaged = content;
    damaged[at] ^= 1;
    write_file_atomic(path, damaged);
    EXPECT_EQ(cached_exact_knn(dataset, 5, 1, folder.path()).ids, expected.ids);
    EXPECT_EQ(read_file(path), content) << "not repaired, byte " << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{30}, content.size() - 1}) {
    write_file_atomic(path, content.substr(0, length));
    EXPECT_EQ(cached_exact_knn(dataset, 5, 1, folder.path()).ids, expected.ids);
  }
}

TEST(GroundTruthCache, WorksWhereItCannotWrite) {
  EXPECT_EQ(cached_exact_knn(small_dataset(), 5, 1, "/proc/nowhere").k, 5);
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

TEST(GroundTruth, HandsOutTheDistanceOfTheKthNeighbour) {
  const GroundTruth truth{2, 2, {3, 1, 0, 2}, {0.5, 2, 1, 4}};
  EXPECT_EQ(kth_distances(truth, 2), (std::vector<double>{2, 4}));
  EXPECT_EQ(kth_distances(truth, 1), (std::vector<double>{0.5, 1}));
  EXPECT_THROW(kth_distances(truth, 3), Error);
}

TEST(GroundTruth, NamesItsSources) {
  EXPECT_EQ(parse_truth_source("gpu"), TruthSource::kGpu);
  EXPECT_EQ(parse_truth_source("auto"), TruthSource::kAuto);
  EXPECT_FALSE(parse_truth_source("disk"));
}

}  // namespace
}  // namespace crinn::eval
