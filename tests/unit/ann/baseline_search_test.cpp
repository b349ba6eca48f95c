// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/modules/baseline/search.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "crinn/ann/modules/baseline/construction.h"
#include "crinn/ann/modules/baseline/refinement.h"
#include "sets.h"

namespace crinn::ann {
namespace {

static_assert(SearchModule<baseline::Search>);
static_assert(RefinementModule<baseline::Refinement>);
using BaselinePipeline = Pipeline<baseline::Search, baseline::Refinement>;

Graph build(const test::Rows& rows, Metric metric, int degree = 32) {
  return baseline::Construction::build({rows.view(), metric, degree, 100, 1, 1});
}

TEST(Baseline, ReturnsUniqueIdsOfHighRecallForAnySizeDimensionAndMetric) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const int64_t n : {1, 2, 5, 60, 700}) {
      for (const int64_t d : {1, 3, 16, 127, 128, 129, 200}) {
        const test::Rows base = test::make_rows(n, d, metric, 3);
        const test::Rows queries = test::make_rows(20, d, metric, 4);
        const Graph graph = build(base, metric);
        const BaselinePipeline pipeline({base.view(), metric, graph, 1, 1});
        auto scratch = pipeline.make_scratch();
        for (const int k : {1, 10, 100}) {
          SCOPED_TRACE(testing::Message()
                       << to_string(metric) << " n " << n << " d " << d << " k " << k);
          double total = 0;
          for (int64_t q = 0; q < queries.n; ++q) {
            std::vector<int32_t> ids(static_cast<std::size_t>(k), -7);
            pipeline.search(queries.view().row(q), k, 800, scratch, ids.data());
            std::set<int32_t> unique;
            for (int64_t j = 0; j < k; ++j) {
              const int32_t id = ids[static_cast<std::size_t>(j)];
              if (j >= n) {
                ASSERT_EQ(id, -1);
              } else {
                ASSERT_TRUE(id >= 0 && id < n && unique.insert(id).second);
              }
            }
            total += test::recall(base, queries.view().row(q), metric, ids.data(), k);
          }
          EXPECT_GE(total / static_cast<double>(queries.n), 0.95);
        }
      }
    }
  }
}

TEST(Baseline, FindsTheNearestByLookingAtAFewOnly) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const int64_t d : {20, 140}) {
      const test::Rows base = test::make_rows(4000, d, metric, 3);
      const test::Rows queries = test::make_rows(40, d, metric, 4);
      const Graph graph = build(base, metric);
      const BaselinePipeline pipeline({base.view(), metric, graph, 1, 1});
      auto scratch = pipeline.make_scratch();
      double total = 0;
      for (int64_t q = 0; q < queries.n; ++q) {
        std::vector<int32_t> ids(10);
        pipeline.search(queries.view().row(q), 10, 150, scratch, ids.data());
        total += test::recall(base, queries.view().row(q), metric, ids.data(), 10);
      }
      SCOPED_TRACE(testing::Message() << to_string(metric) << " d " << d);
      EXPECT_GE(total / static_cast<double>(queries.n), 0.9);
      EXPECT_LT(scratch.search.distance_count, static_cast<uint64_t>(queries.n) * 2200);
    }
  }
}

TEST(Baseline, AnswersDoNotDependOnEarlierQueries) {
  const test::Rows base = test::make_rows(2000, 32, Metric::kL2, 3);
  const test::Rows queries = test::make_rows(50, 32, Metric::kL2, 4);
  const Graph graph = build(base, Metric::kL2);
  const BaselinePipeline pipeline({base.view(), Metric::kL2, graph, 1, 1});
  auto used = pipeline.make_scratch();
  for (int64_t q = 0; q < queries.n; ++q) {
    std::vector<int32_t> first(10), fresh(10);
    const int ef = 10 + static_cast<int>(q % 7) * 20;
    pipeline.search(queries.view().row(q), 10, ef, used, first.data());
    auto scratch = pipeline.make_scratch();
    pipeline.search(queries.view().row(q), 10, ef, scratch, fresh.data());
    EXPECT_EQ(first, fresh);
  }
}

TEST(Baseline, LaysRecordsOutInTheGraphsOrderWithTheSameAnswers) {
  const test::Rows base = test::make_rows(900, 20, Metric::kL2, 3);
  const test::Rows queries = test::make_rows(30, 20, Metric::kL2, 4);
  Graph graph = build(base, Metric::kL2);
  const BaselinePipeline plain({base.view(), Metric::kL2, graph, 1, 1});
  Graph ordered = build(base, Metric::kL2);
  ordered.order = bfs_order(ordered);
  const BaselinePipeline placed({base.view(), Metric::kL2, ordered, 1, 1});
  auto one = plain.make_scratch(), other = placed.make_scratch();
  for (int64_t q = 0; q < queries.n; ++q) {
    std::vector<int32_t> a(10), b(10);
    plain.search(queries.view().row(q), 10, 400, one, a.data());
    placed.search(queries.view().row(q), 10, 400, other, b.data());
    EXPECT_DOUBLE_EQ(test::recall(base, queries.view().row(q), Metric::kL2, a.data(), 10),
                     test::recall(base, queries.view().row(q), Metric::kL2, b.data(), 10));
  }
}

TEST(Baseline, CountsDistancesAndMoreOfThemForMoreEffort) {
  const test::Rows base = test::make_rows(3000, 16, Metric::kL2, 3);
  const Graph graph = build(base, Metric::kL2);
  const baseline::Search search({base.view(), Metric::kL2, graph, 1, 1});
  std::vector<Candidate> out;
  uint64_t last = 0;
  for (const int ef : {10, 50, 400}) {
    auto scratch = search.make_scratch();
    search.search(base.view().row(0), 10, ef, scratch, out);
    EXPECT_GT(scratch.distance_count, last);
    EXPECT_EQ(out.size(), static_cast<std::size_t>(ef));
    EXPECT_TRUE(std::is_sorted(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) {
      return a.estimate < b.estimate;
    }));
    last = scratch.distance_count;
  }
}

TEST(BaselineRefinement, OrdersByDistanceAlsoWhereHalfPrecisionFails) {
  const std::pair<float, float> cases[] = {{1.0f, 0.0f}, {1e5f, 0.0f}, {1e-6f, 0.0f}, {1.0f, 3e3f}};
  for (const auto& [scale, offset] : cases) {
    test::Rows base = test::make_rows(100, 48, Metric::kL2, 3);
    for (float& value : base.values) value = value * scale + offset;
    const baseline::Refinement refinement({base.view(), Metric::kL2, 1});
    auto scratch = refinement.make_scratch();
    std::vector<Candidate> candidates;
    for (int32_t id = 0; id < 60; ++id) candidates.push_back({static_cast<float>(id), id});
    std::vector<int32_t> ids(10);
    const float* query = base.view().row(30);
    EXPECT_EQ(refinement.refine(query, candidates, false, 10, scratch, ids.data()), 10);
    for (std::size_t i = 1; i < 10; ++i) {
      const double before = exact_l2(query, base.view().row(ids[i - 1]), 48);
      const double after = exact_l2(query, base.view().row(ids[i]), 48);
      EXPECT_LE(before, after * (1 + 2e-3)) << "scale " << scale << " offset " << offset;
    }
    EXPECT_EQ(exact_l2(query, base.view().row(ids[0]), 48), 0.0);
  }
}

TEST(BaselineRefinement, TakesExactEstimatesAsTheyAre) {
  const test::Rows base = test::make_rows(10, 4, Metric::kL2, 3);
  const baseline::Refinement refinement({base.view(), Metric::kL2, 1});
  auto scratch = refinement.make_scratch();
  std::vector<Candidate> candidates{{1, 4}, {2, 2}, {3, 9}};
  std::vector<int32_t> ids(2);
  EXPECT_EQ(refinement.refine(base.view().row(9), candidates, true, 2, scratch, ids.data()), 2);
  EXPECT_EQ(ids, (std::vector<int32_t>{4, 2}));
}

}  // namespace
}  // namespace crinn::ann
