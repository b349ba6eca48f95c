// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/modules/baseline/construction.h"

#include <gtest/gtest.h>

#include <set>

#include "sets.h"

namespace crinn::ann {
namespace {

static_assert(ConstructionModule<baseline::Construction>);

void expect_well_formed(const Graph& graph, int64_t n, int degree) {
  ASSERT_EQ(graph.n, n);
  ASSERT_EQ(graph.degree, degree);
  ASSERT_FALSE(graph.entry_points.empty());
  ASSERT_LE(graph.entry_points.size(), 64u);
  for (const int32_t id : graph.entry_points) ASSERT_TRUE(id >= 0 && id < n);
  for (int64_t i = 0; i < n; ++i) {
    std::set<int32_t> seen;
    bool ended = false;
    for (int j = 0; j < degree; ++j) {
      const int32_t id = graph.row(i)[j];
      ASSERT_TRUE(id >= -1 && id < n && id != i) << "row " << i;
      ASSERT_FALSE(ended && id >= 0) << "row " << i;
      ended = id < 0;
      ASSERT_TRUE(ended || seen.insert(id).second) << "row " << i;
    }
  }
  EXPECT_EQ(Reachability(GraphView(graph)).reached, n);
}

TEST(BaselineConstruction, MakesAReachableGraphOfAnySizeAndMetric) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const int64_t n : {1, 2, 3, 5, 33, 60, 700}) {
      for (const int64_t d : {1, 3, 64, 129}) {
        for (const int degree : {1, 2, 7, 32}) {
          const test::Rows rows = test::make_rows(n, d, metric, 3);
          const BuildInput input{rows.view(), metric, degree, 50, 1, 1};
          SCOPED_TRACE(testing::Message()
                       << to_string(metric) << " n " << n << " d " << d << " degree " << degree);
          expect_well_formed(baseline::Construction::build(input), n, degree);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(BaselineConstruction, ReachesEveryDuplicate) {
  const test::Rows rows{300, 4, std::vector<float>(1200, 1.5f)};
  const BuildInput input{rows.view(), Metric::kL2, 8, 50, 1, 1};
  expect_well_formed(baseline::Construction::build(input), 300, 8);
}

TEST(BaselineConstruction, IsTheSameAtAnyThreadCountAndDiffersBySeed) {
  const test::Rows rows = test::make_rows(3000, 12, Metric::kL2, 4);
  BuildInput input{rows.view(), Metric::kL2, 16, 60, 9, 1};
  const Graph one = baseline::Construction::build(input);
  input.threads = 5;
  const Graph five = baseline::Construction::build(input);
  EXPECT_TRUE(std::equal(one.neighbors.begin(), one.neighbors.end(), five.neighbors.begin()));
  EXPECT_EQ(one.entry_points, five.entry_points);
  input.seed = 10;
  const Graph other = baseline::Construction::build(input);
  EXPECT_FALSE(std::equal(one.neighbors.begin(), one.neighbors.end(), other.neighbors.begin()));
}

TEST(PairwiseCodes, AreCloseToTheExactDistance) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const int64_t d : {1, 7, 63, 64, 65, 200}) {
      const test::Rows rows = test::make_rows(100, d, metric, 5);
      std::vector<int32_t> order(100);
      for (int32_t i = 0; i < 100; ++i) order[static_cast<std::size_t>(i)] = 99 - i;
      const PairwiseCodes codes(rows.view(), metric, order, 2);
      double largest = 0;
      for (const float value : rows.values) {
        largest = std::max(largest, std::abs(static_cast<double>(value)));
      }
      for (int32_t i = 0; i < 99; ++i) {
        const float* a = rows.view().row(99 - i);
        const float* b = rows.view().row(98 - i);
        const double exact =
            exact_distance(a, b, d, metric == Metric::kCosine ? Metric::kL2 : metric);
        // Each coordinate is off by half a step of 2 largest / 127 at most.
        const double tolerance = 8 * largest * largest * static_cast<double>(d) / 127;
        EXPECT_NEAR(static_cast<double>(codes(i, i + 1)), exact, tolerance + 1e-6);
      }
    }
  }
}

}  // namespace
}  // namespace crinn::ann
