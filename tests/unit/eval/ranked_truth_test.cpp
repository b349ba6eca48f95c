// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/ranked_truth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "../gpu/ranks.h"
#include "crinn/base/files.h"
#include "crinn/gpu/comm.h"
#include "data_files.h"

namespace crinn::eval {
namespace {

TEST(RankedTruth, EqualsOneProcessAtAnyNumberOfRanksAndSizeOfSlices) {
  const TemporaryFolder folder;
  const std::string made = "synthetic:n=20000,d=64,clusters=9,metric=ip,seed=2,queries=40";
  const Dataset dataset = load_dataset(made);
  const GroundTruth expected =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 15, 1);
  const auto save = [&](const char* name, const Matrix& rows) {
    const std::vector<float> values(rows.row(0), rows.row(0) + rows.rows() * rows.cols());
    return data_files::save(folder.path() / name, data_files::bin<uint32_t, float>(
                                                      static_cast<uint32_t>(rows.rows()),
                                                      static_cast<uint32_t>(rows.cols()), values))
        .string();
  };
  // Stored neighbours that are wrong, and that nobody may believe.
  GroundTruth wrong = expected;
  for (int64_t& id : wrong.ids) id = (id + 1) % 20000;
  const std::filesystem::path stored = folder.path() / "t.ibin";
  write_ground_truth(wrong, dataset.metric, stored);
  const std::string files =
      save("b.fbin", dataset.base) + "," + save("q.fbin", dataset.queries) + "," + stored.string();
  for (const std::string& name : {made, files}) {
    for (const int ranks : {1, 3}) {
      for (const int64_t memory : {int64_t{0}, int64_t{8} << 20}) {  // of the latter, 2 MiB a slice
        auto comms = gpu::make_local_comms(ranks);
        for (const gpu::RankEnd& end : gpu::run_ranks(ranks, [&](int rank) {
               const RankedTruth ranked(*comms[static_cast<std::size_t>(rank)], name, "ip", 33);
               EXPECT_EQ(ranked.base_rows(), 20000);
               EXPECT_EQ(ranked.metric(), ann::Metric::kInnerProduct);
               const GroundTruth found = ranked.find(TruthSource::kCpu, 15, 1, {memory, {0}});
               EXPECT_EQ(found.queries, 33);
               EXPECT_EQ(found.k, 15);
               EXPECT_EQ(found.ids, std::vector<int64_t>(expected.ids.begin(),
                                                         expected.ids.begin() + 33 * 15));
               EXPECT_EQ(found.distances,
                         std::vector<double>(expected.distances.begin(),
                                             expected.distances.begin() + 33 * 15));
             })) {
          EXPECT_EQ(end.message, "");
        }
      }
    }
  }
}

TEST(RankedTruth, HasRanksWithoutRowsWhereTheBaseIsSmall) {
  auto comms = gpu::make_local_comms(5);
  for (const gpu::RankEnd& end : gpu::run_ranks(5, [&](int rank) {
         const RankedTruth ranked(*comms[static_cast<std::size_t>(rank)],
                                  "synthetic:n=3,d=4,clusters=1,metric=euclidean,seed=1,queries=2",
                                  "", 0);
         const GroundTruth found = ranked.find(TruthSource::kCpu, 3, 1, {});
         EXPECT_EQ(found.ids.size(), 6u);
         EXPECT_EQ(std::count(found.ids.begin(), found.ids.end(), -1), 0);
       })) {
    EXPECT_EQ(end.message, "");
  }
}

TEST(RankedTruth, NamesTheRowOfTheFileOnTheRankThatReadsItAndTheRankOnOthers) {
  const TemporaryFolder folder;
  std::vector<float> base(10 * 2, 1.0f);
  base[7 * 2 + 1] = std::numeric_limits<float>::quiet_NaN();
  const std::string names =
      data_files::save(folder.path() / "b.fbin", data_files::bin<uint32_t, float>(10, 2, base))
          .string() +
      "," +
      data_files::save(folder.path() / "q.fbin", data_files::bin<uint32_t, float>(1, 2, {1, 2}))
          .string();
  auto comms = gpu::make_local_comms(2);
  const auto ends = gpu::run_ranks(2, [&](int rank) {
    const RankedTruth ranked(*comms[static_cast<std::size_t>(rank)], names, "", 0);
    ranked.find(TruthSource::kCpu, 1, 1, {});
  });
  for (const gpu::RankEnd& end : ends) {
    EXPECT_EQ(end.exit_code, 3);
    EXPECT_TRUE(mentions(end, "b.fbin")) << end.message;
    EXPECT_TRUE(mentions(end, "row 7")) << end.message;
  }
  EXPECT_TRUE(ends[0].message.starts_with("rank 1: ")) << ends[0].message;
}

}  // namespace
}  // namespace crinn::eval
