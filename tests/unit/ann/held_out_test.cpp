// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/held_out.h"

#include <gtest/gtest.h>

#include "crinn/ann/modules/baseline/search.h"
#include "crinn/ann/toolbox/float_table.h"
#include "sets.h"

namespace crinn::ann {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};

/// Rows [n, d] on a surface of 4 dimensions.
test::Rows make_surface(int64_t n, int64_t d) {
  Rng rng(5);
  std::vector<double> turn(static_cast<std::size_t>(4 * d));
  for (double& value : turn) value = rng.normal();
  test::Rows rows{n, d, std::vector<float>(static_cast<std::size_t>(n * d))};
  for (int64_t i = 0; i < n; ++i) {
    const double latent[] = {rng.normal(), rng.normal(), rng.normal(), rng.normal()};
    for (int64_t j = 0; j < d; ++j) {
      double sum = 0;
      for (int64_t a = 0; a < 4; ++a) sum += latent[a] * turn[static_cast<std::size_t>(a * d + j)];
      rows.values[static_cast<std::size_t>(i * d + j)] = static_cast<float>(sum);
    }
  }
  return rows;
}

TEST(NeededDepth, IsKWhereEstimatesAreExact) {
  for (const Metric metric : kMetrics) {
    const test::Rows base = test::make_rows(700, 20, metric, 3);
    const Fp32Table table(base.view(), metric, {});
    EXPECT_EQ(needed_depth(table, base.view(), metric, {}), 10);
    EXPECT_EQ(needed_depth(table, base.view(), metric, {.k = 3}), 3);
  }
}

TEST(NeededDepth, EqualsACountByHand) {
  const test::Rows base = test::make_rows(500, 12, Metric::kL2, 3);
  const Sq4Table table(base.view(), Metric::kL2, {});
  // All rows held out, the worst case: the deepest of the ten neighbours of every row.
  int64_t deepest = 0;
  for (int64_t q = 0; q < base.n; ++q) {
    auto query = table.make_query();
    table.prepare(base.view().row(q), query);
    std::vector<std::pair<float, float>> rows;  // exact, estimate
    for (int64_t i = 0; i < base.n; ++i) {
      if (i == q) continue;
      rows.emplace_back(l2(base.view().row(q), base.view().row(i), base.d),
                        table.distance(query, i));
    }
    std::sort(rows.begin(), rows.end());
    const float kth = rows[9].first;
    for (int j = 0; j < 10; ++j) {
      int64_t depth = 10;
      for (const auto& [exact, estimate] : rows) {
        depth += exact > kth && estimate <= rows[static_cast<std::size_t>(j)].second;
      }
      deepest = std::max(deepest, depth);
    }
  }
  EXPECT_GT(deepest, 12);
  EXPECT_EQ(needed_depth(table, base.view(), Metric::kL2, {.queries = base.n, .recall = 1}),
            deepest);
}

TEST(NeededDepth, SurvivesFewRowsDuplicatesAndHugeValues) {
  for (const int64_t n : {1, 2, 3, 11}) {
    const test::Rows base = test::make_rows(n, 6, Metric::kL2, 3);
    const Sq4Table table(base.view(), Metric::kL2, {});
    EXPECT_LE(needed_depth(table, base.view(), Metric::kL2, {}), std::max<int64_t>(n, 1));
  }
  test::Rows equal{300, 6, std::vector<float>(1800, 0.5f)};
  EXPECT_EQ(needed_depth(Sq4Table(equal.view(), Metric::kL2, {}), equal.view(), Metric::kL2, {}),
            10);
  for (const Metric metric : kMetrics) {
    test::Rows huge = test::make_rows(300, 6, metric, 3);
    for (float& value : huge.values) value *= 2e37f;
    EXPECT_LE(needed_depth(Fp32Table(huge.view(), metric, {}), huge.view(), metric, {}), 300);
  }
}

TEST(NeededDepth, DoesNotDependOnThreads) {
  const test::Rows base = test::make_rows(2000, 16, Metric::kL2, 3);
  const Sq4Table table(base.view(), Metric::kL2, {});
  const int64_t one = needed_depth(table, base.view(), Metric::kL2, {});
  EXPECT_EQ(needed_depth(table, base.view(), Metric::kL2, {.threads = 5}), one);
}

TEST(Baseline, TakesFourBitsWhereTheyRankWellAndEightElsewhere) {
  const test::Rows surface = make_surface(3000, 100);
  const test::Rows full = test::make_rows(3000, 24, Metric::kL2, 3);
  EXPECT_EQ(baseline::Codes(surface.view(), Metric::kL2, {}).bits(), 4);
  EXPECT_EQ(baseline::Codes(full.view(), Metric::kL2, {}).bits(), 8);
}

}  // namespace
}  // namespace crinn::ann
