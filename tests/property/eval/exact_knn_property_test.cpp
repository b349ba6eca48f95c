// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "crinn/base/error.h"
#include "crinn/eval/dataset.h"
#include "knn_cases.h"

namespace crinn::eval {
namespace {

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};

TEST(ExactKnn, EqualsTheNaiveLoopOnEveryAdversarialInput) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
      const knn_cases::Answer expected = knn_cases::naive(input, metric);
      const GroundTruth truth =
          exact_knn(input.base_view(), input.query_view(), metric, input.k, 1);
      EXPECT_EQ(truth.ids, expected.ids);
      EXPECT_EQ(truth.distances, expected.distances);
    }
  }
}

TEST(ExactKnn, EqualsTheNaiveLoopWithAnyNumberOfLeadingAxes) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      const knn_cases::Answer expected = knn_cases::naive(input, metric);
      for (const int64_t axes : {int64_t{1}, int64_t{7}, input.d / 2, input.d}) {
        SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)) + ", " +
                     std::to_string(axes) + " axes");
        const GroundTruth truth = exact_knn(input.base_view(), input.query_view(), metric, input.k,
                                            1, 0, std::min<int64_t>(axes, 256));
        EXPECT_EQ(truth.ids, expected.ids);
        EXPECT_EQ(truth.distances, expected.distances);
      }
    }
  }
}

TEST(ExactKnn, EqualsTheNaiveLoopInSeveralChunksWithLeadingAxes) {
  const auto input = knn_cases::make("", 7001, 13, 300, 10, [](Rng& rng, int64_t, int64_t j) {
    return (j < 6 ? 1.0 : 0.05) * rng.normal();
  });
  // Of work space: without room for axes, with little of it, without a limit.
  const int64_t least = int64_t{1} << 20, little = int64_t{20} << 20;
  for (const ann::Metric metric : kMetrics) {
    const knn_cases::Answer expected = knn_cases::naive(input, metric);
    for (const int64_t axes : {8, 40}) {
      for (const int threads : {1, 3}) {
        for (const int64_t memory : {least, little, int64_t{0}}) {
          const GroundTruth truth = exact_knn(input.base_view(), input.query_view(), metric,
                                              input.k, threads, memory, axes);
          EXPECT_EQ(truth.ids, expected.ids);
          EXPECT_EQ(truth.distances, expected.distances);
        }
      }
    }
  }
}

TEST(ExactKnn, EqualsTheNaiveLoopWhereASampleChoosesTheAxes) {
  const auto input = knn_cases::make("", 5000, 2500, 64, 10, [](Rng& rng, int64_t, int64_t j) {
    return (j < 6 ? 1.0 : 0.03) * rng.normal();  // data that leading_axes_test has axes chosen for
  });
  for (const ann::Metric metric : kMetrics) {
    const knn_cases::Answer expected = knn_cases::naive(input, metric);
    const GroundTruth truth = exact_knn(input.base_view(), input.query_view(), metric, input.k, 1);
    EXPECT_EQ(truth.ids, expected.ids);
    EXPECT_EQ(truth.distances, expected.distances);
  }
}

TEST(ExactKnn, DoesNotDependOnTheNumberOfThreads) {
  const auto input = knn_cases::make("", 1500, 101, 40, 10,
                                     [](Rng& rng, int64_t, int64_t) { return rng.below(4); });
  for (const ann::Metric metric : kMetrics) {
    const GroundTruth one = exact_knn(input.base_view(), input.query_view(), metric, 10, 1);
    for (const int threads : {2, 3, 7}) {
      const GroundTruth many =
          exact_knn(input.base_view(), input.query_view(), metric, 10, threads);
      EXPECT_EQ(one.ids, many.ids);
      EXPECT_EQ(one.distances, many.distances);
    }
  }
}

TEST(ExactKnn, FollowsAPermutationOfTheRows) {
  auto input =
      knn_cases::make("", 900, 11, 30, 10, [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  const GroundTruth before =
      exact_knn(input.base_view(), input.query_view(), ann::Metric::kL2, 10, 1);
  std::vector<int64_t> order(900);
  std::iota(order.begin(), order.end(), 0);
  Rng rng(5);
  rng.shuffle(order);
  const std::vector<float> base = input.base;
  for (int64_t i = 0; i < input.n; ++i) {
    const auto from = static_cast<std::ptrdiff_t>(order[static_cast<std::size_t>(i)] * input.d);
    std::copy_n(base.begin() + from, input.d, input.base.begin() + i * input.d);
  }
  const GroundTruth after =
      exact_knn(input.base_view(), input.query_view(), ann::Metric::kL2, 10, 1);
  EXPECT_EQ(before.distances, after.distances);
  for (std::size_t at = 0; at < after.ids.size(); ++at) {
    EXPECT_EQ(before.ids[at], order[static_cast<std::size_t>(after.ids[at])]);
  }
}

TEST(ExactKnn, HonoursTheStrideOfAView) {
  const auto wide =
      knn_cases::make("", 200, 6, 20, 5, [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  auto narrow = wide;
  narrow.d = 13;
  narrow.base.clear();
  narrow.queries.clear();
  for (int64_t i = 0; i < wide.n; ++i) {
    narrow.base.insert(narrow.base.end(), wide.base_view().row(i), wide.base_view().row(i) + 13);
  }
  for (int64_t q = 0; q < wide.nq; ++q) {
    const float* row = wide.query_view().row(q);
    narrow.queries.insert(narrow.queries.end(), row, row + 13);
  }
  const GroundTruth truth = exact_knn({wide.base.data(), 200, 13, 20},
                                      {wide.queries.data(), 6, 13, 20}, ann::Metric::kCosine, 5, 1);
  EXPECT_EQ(truth.ids, knn_cases::naive(narrow, ann::Metric::kCosine).ids);
}

TEST(ExactKnn, PadsWithInfinityWhereThereIsNoBase) {
  const float query[] = {1, 2};
  const GroundTruth truth = exact_knn({nullptr, 0, 2}, {query, 1, 2}, ann::Metric::kL2, 2, 1);
  EXPECT_EQ(truth.ids, (std::vector<int64_t>{-1, -1}));
  EXPECT_EQ(truth.distances[1], std::numeric_limits<double>::infinity());
}

TEST(ExactKnn, NamesTheRowThatIsNotFinite) {
  std::vector<float> base(40, 1.0f);
  base[27] = std::numeric_limits<float>::quiet_NaN();
  try {
    exact_knn({base.data(), 10, 4}, {base.data(), 1, 4}, ann::Metric::kL2, 1, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("base row 6 holds nan"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(exact_knn({base.data(), 5, 4}, {base.data(), 1, 4}, ann::Metric::kL2, 0, 1), Error);
  for (const int64_t axes : {-1, 257}) {
    EXPECT_THROW(
        exact_knn({base.data(), 5, 4}, {base.data(), 1, 4}, ann::Metric::kL2, 1, 1, 0, axes),
        Error);
  }
  EXPECT_THROW(exact_knn({base.data(), 5, 4}, {base.data(), 1, 3}, ann::Metric::kL2, 1, 1), Error);
}

}  // namespace
}  // namespace crinn::eval
