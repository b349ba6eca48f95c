// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "crinn/ann/indexes.h"
#include "crinn/base/files.h"
#include "sets.h"

namespace crinn::ann {
namespace {

std::vector<int32_t> search_all(const ChampionIndex& index, const test::Rows& queries, int k) {
  std::vector<int32_t> ids(static_cast<std::size_t>(queries.n * k), -9);
  index.search(queries.view(), k, 300, 1, ids.data());
  return ids;
}

TEST(Champion, FindsTheNeighboursUnderEveryMetric) {
  constexpr int kNeighbors = 10;
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const test::Rows base = test::make_rows(1500, 40, metric, 1);
    const test::Rows queries = test::make_rows(40, 40, metric, 2);
    const auto ids = search_all(ChampionIndex::build(base.view(), metric), queries, kNeighbors);
    double recall = 0;
    for (int64_t q = 0; q < queries.n; ++q) {
      recall += test::recall(base, queries.view().row(q), metric, ids.data() + q * kNeighbors,
                             kNeighbors) /
                static_cast<double>(queries.n);
    }
    EXPECT_GT(recall, 0.9) << to_string(metric);
  }
}

TEST(Champion, IsTheSameAtAnyNumberOfThreadsAndAfterLoading) {
  const TemporaryFolder folder;
  const test::Rows base = test::make_rows(900, 33, Metric::kL2, 3);
  const test::Rows queries = test::make_rows(30, 33, Metric::kL2, 4);
  const auto one = ChampionIndex::build(base.view(), Metric::kL2, {}, 1);
  const auto two = ChampionIndex::build(base.view(), Metric::kL2, {}, 2);
  EXPECT_EQ(search_all(one, queries, 10), search_all(two, queries, 10));
  one.save(folder.path() / "champion.crinn");
  const auto loaded = ChampionIndex::load(folder.path() / "champion.crinn");
  EXPECT_EQ(search_all(one, queries, 10), search_all(loaded, queries, 10));
}

TEST(Champion, AnswersWhereThereAreFewerVectorsThanNeighbours) {
  const test::Rows base = test::make_rows(3, 5, Metric::kL2, 5);
  const auto index = ChampionIndex::build(base.view(), Metric::kL2);
  const auto ids = search_all(index, base, 10);
  for (int64_t q = 0; q < base.n; ++q) {
    EXPECT_EQ(ids[static_cast<std::size_t>(q * 10)], q);
    EXPECT_EQ(ids[static_cast<std::size_t>(q * 10 + 3)], -1);
  }
}

}  // namespace
}  // namespace crinn::ann
