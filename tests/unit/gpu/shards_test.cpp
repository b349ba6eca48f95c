// SPDX-License-Identifier: Apache-2.0
#include "shards.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

TEST(MergeNeighbors, OrdersByDistanceThenId) {
  const Neighbors a{{4, 9, 2, 8}, {0.5, 2, 1, 1}, ""};
  const Neighbors b{{3, 7, 1, 5}, {0.5, 1, 1, 3}, ""};
  for (const Neighbors& merged : {merge_neighbors({a, b}, 2, 2), merge_neighbors({b, a}, 2, 2)}) {
    EXPECT_EQ(merged.ids, (std::vector<int64_t>{3, 4, 1, 2}));
    EXPECT_EQ(merged.distances, (std::vector<double>{0.5, 0.5, 1, 1}));
  }
}

TEST(MergeNeighbors, PadsWhereThereAreTooFew) {
  const Neighbors a{{4, -1, -1}, {0.5, kNone, kNone}, ""};
  const Neighbors b{{6, -1, -1}, {kNone, kNone, kNone}, ""};  // a distance may be infinite
  const Neighbors merged = merge_neighbors({a, b}, 1, 3);
  EXPECT_EQ(merged.ids, (std::vector<int64_t>{4, 6, -1}));
  EXPECT_EQ(merged.distances, (std::vector<double>{0.5, kNone, kNone}));
}

TEST(SearchShards, CoversEveryRowOnceWithItsOwnIds) {
  for (const int shards : {1, 3, 4, 9}) {
    std::vector<std::atomic<int>> seen(10);
    const Neighbors found =
        search_shards(10, 1, 10, shards, [&](int shard, int64_t first, int64_t count) {
          Neighbors part;
          part.ids.assign(10, -1);
          part.distances.assign(10, kNone);
          for (int64_t i = 0; i < count; ++i) {
            ++seen[static_cast<std::size_t>(first + i)];
            part.ids[static_cast<std::size_t>(i)] = i;
            part.distances[static_cast<std::size_t>(i)] = static_cast<double>(first + i);
          }
          part.plan = std::to_string(shard);
          return part;
        });
    for (const auto& count : seen) EXPECT_EQ(count, 1);
    EXPECT_EQ(found.ids, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    if (shards == 3) {
      EXPECT_EQ(found.plan, "0; 1; 2");
    }
  }
}

TEST(SearchShards, ThrowsWhatAShardThrew) {
  const auto search = [](int shard, int64_t, int64_t) -> Neighbors {
    if (shard == 1) throw Error(ErrorCategory::kDevice, "shard 1 is broken");
    return {{0}, {0}, ""};
  };
  EXPECT_THROW(search_shards(10, 1, 1, 2, search), Error);
}

TEST(SearchShards, PadsAnEmptyBase) {
  const Neighbors found =
      search_shards(0, 1, 2, 2, [](int, int64_t, int64_t) { return Neighbors(); });
  EXPECT_EQ(found.ids, (std::vector<int64_t>{-1, -1}));
}

TEST(CheckKnn, RefusesWhatNoDeviceCouldDo) {
  const float value[] = {1, 2};
  const MatrixView<const float> row(value, 1, 2), narrow(value, 2, 1);
  EXPECT_NO_THROW(check_knn(row, row, 1, {}));
  EXPECT_THROW(check_knn(row, row, 0, {}), Error);
  EXPECT_THROW(check_knn(row, narrow, 1, {}), Error);
  EXPECT_THROW(check_knn(row, row, 1, {{}, 0, KnnPath::kAuto}), Error);
  EXPECT_THROW(check_knn(row, row, 1, {{0, 0}, 0, KnnPath::kAuto}), Error);
  EXPECT_THROW(check_knn(row, row, 1, {{0}, -5, KnnPath::kAuto}), Error);
}

}  // namespace
}  // namespace crinn::gpu
