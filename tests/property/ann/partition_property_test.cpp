// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/toolbox/partitions.h"
#include "crinn/ann/toolbox/residual_blocks.h"
#include "interleaved.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

constexpr int64_t kSizes[] = {1, 2, 15, 16, 31, 32, 33, 63, 64, 65, 500, 2051};

/// Clusters so far apart that no list has reason to span two.
Matrix clusters(int64_t n, int64_t d, int64_t count, uint64_t seed) {
  Matrix rows = random_matrix(n, d, seed);
  const Matrix centres = random_matrix(count, d, 99);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < d; ++j) rows.row(i)[j] += 30 * centres.row(i % count)[j];
  }
  return rows;
}

void expect_whole(const Partitions& partitions, int64_t n) {
  std::vector<bool> seen(static_cast<std::size_t>(n), false);
  int64_t total = 0;
  ASSERT_EQ(static_cast<int64_t>(partitions.places().size()),
            partitions.blocks() * Partitions::kLanes);
  for (int64_t list = 0; list < partitions.lists(); ++list) {
    const int64_t begin = partitions.first_block(list), end = partitions.first_block(list + 1);
    const int64_t size = partitions.size(list);
    ASSERT_GT(size, 0);
    ASSERT_EQ(end - begin, (size + Partitions::kLanes - 1) / Partitions::kLanes);
    for (int64_t i = 0; i < (end - begin) * Partitions::kLanes; ++i) {
      const int32_t id = partitions.ids(begin)[i];
      if (i >= size) {
        ASSERT_EQ(id, -1);
        continue;
      }
      ASSERT_TRUE(id >= 0 && id < n);
      ASSERT_FALSE(seen[static_cast<std::size_t>(id)]);
      seen[static_cast<std::size_t>(id)] = true;
    }
    total += size;
  }
  EXPECT_EQ(partitions.first_block(0), 0);
  EXPECT_EQ(total, n);
}

TEST(Partitions, HoldEveryVectorOnceInListsThatAreNotAbsurd) {
  for (const Values values : kAllValues) {
    for (const int64_t n : kSizes) {
      for (const int64_t lists : {0, 1, 7, 1000}) {
        const Matrix base = random_matrix(n, 5, 3, values);
        const Partitions partitions(base.view(), Metric::kL2, {.lists = lists, .seed = 1});
        ASSERT_NO_FATAL_FAILURE(expect_whole(partitions, n));
        if (lists == 1) {
          EXPECT_EQ(partitions.lists(), 1);
          continue;
        }
        const int64_t wanted = lists > 0 ? lists : std::llround(std::sqrt(static_cast<double>(n)));
        const int64_t cells = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(n / 16, 1));
        for (int64_t list = 0; list < partitions.lists(); ++list) {
          if (cells > 1) {
            EXPECT_LE(partitions.size(list), std::max(Partitions::kLanes, 4 * n / cells));
          }
          for (int64_t j = 0; j < 5; ++j) {
            EXPECT_TRUE(std::isfinite(partitions.centres().row(list)[j]));
          }
        }
      }
    }
  }
}

TEST(Partitions, AreTheSameAtAnyNumberOfThreads) {
  const Matrix base = decaying_matrix(3000, 70, 4);
  const Partitions one(base.view(), Metric::kL2, {.lists = 40, .seed = 5, .threads = 1});
  const Partitions three(base.view(), Metric::kL2, {.lists = 40, .seed = 5, .threads = 3});
  ASSERT_EQ(one.lists(), three.lists());
  EXPECT_TRUE(std::ranges::equal(one.places(), three.places()));
  for (int64_t list = 0; list < one.lists(); ++list) {
    EXPECT_TRUE(std::ranges::equal(one.centres().row_span(list), three.centres().row_span(list)));
  }
  const Partitions other(base.view(), Metric::kL2, {.lists = 40, .seed = 6});
  EXPECT_FALSE(std::ranges::equal(one.places(), other.places()));
}

TEST(Partitions, KeepClustersTogetherUnderTheirMeans) {
  for (const int64_t d : {3, 60, 61, 200}) {
    const Matrix base = clusters(3000, d, 12, 6);
    const Partitions partitions(base.view(), Metric::kL2, {.lists = 60, .seed = 2});
    EXPECT_GE(partitions.lists(), 20);  // int8 tells no more apart inside such clusters
    for (int64_t list = 0; list < partitions.lists(); ++list) {
      const int32_t* ids = partitions.ids(partitions.first_block(list));
      std::vector<double> mean(static_cast<std::size_t>(d));
      for (int64_t i = 0; i < partitions.size(list); ++i) {
        EXPECT_EQ(ids[i] % 12, ids[0] % 12) << "d " << d;
        for (int64_t j = 0; j < d; ++j) mean[j] += static_cast<double>(base.row(ids[i])[j]);
      }
      for (int64_t j = 0; j < d; ++j) {
        EXPECT_NEAR(mean[j] / static_cast<double>(partitions.size(list)),
                    partitions.centres().row(list)[j], 1e-4);
      }
    }
  }
}

TEST(Partitions, ReturnEveryListOnceTheNearestFirst) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
    for (const int64_t n : kSizes) {
      const Matrix base = decaying_matrix(n, 40, 7), queries = decaying_matrix(3, 40, 8);
      const Partitions partitions(base.view(), metric, {.seed = 3});
      auto query = partitions.make_query();
      for (int64_t q = 0; q < 3; ++q) {
        partitions.rank(queries.row(q), query);
        const float farthest = query.farthest;
        EXPECT_EQ(static_cast<int64_t>(query.lists.size()), partitions.lists());
        std::set<int32_t> seen;
        float last = query.nearest;
        double product = 0;
        for (int64_t j = 0; j < 40; ++j) product += std::fabs(queries.row(q)[j]);
        while (!query.lists.empty()) {
          const Candidate list = partitions.next(query);
          EXPECT_GE(list.estimate, last);
          last = list.estimate;
          EXPECT_TRUE(seen.insert(list.id).second);
          const float exact = partitions.centre_distance(queries.row(q), list.id);
          EXPECT_NEAR(exact,
                      exact_distance(queries.row(q), partitions.centres().row(list.id), 40, metric),
                      1e-3);
          EXPECT_NEAR(list.estimate, exact, 0.1 + 0.05 * product);
        }
        EXPECT_EQ(last, farthest);
        EXPECT_EQ(static_cast<int64_t>(seen.size()), partitions.lists());
      }
    }
  }
}

template <class Bits>
class PlacedCodes : public testing::Test {};
using AllBits = testing::Types<std::integral_constant<int, 1>, std::integral_constant<int, 2>,
                               std::integral_constant<int, 4>, std::integral_constant<int, 8>>;
TYPED_TEST_SUITE(PlacedCodes, AllBits);

TYPED_TEST(PlacedCodes, ScoreInPlaceWhatTheTableScoresById) {
  constexpr int kBits = TypeParam::value;
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
    for (const int64_t n : kSizes) {
      const Matrix base = decaying_matrix(n, 37, 8);
      CodeParams params;
      params.projection = ProjectionKind::kRotation;
      const Partitions partitions(base.view(), metric, {.seed = 4});
      const ScanBlocks<kBits, Partitions::kLanes> scan(base.view(), metric, params,
                                                       partitions.places());
      const QuantizedTable<kBits> table(base.view(), metric, params);
      auto query = scan.make_query();
      scan.prepare(base.row(0), query);
      ASSERT_EQ(scan.blocks(), partitions.blocks());
      for (int64_t block = 0; block < scan.blocks(); ++block) {
        alignas(64) float estimates[Partitions::kLanes];
        scan.score(query, block, estimates);
        for (int64_t i = 0; i < Partitions::kLanes; ++i) {
          const int32_t id = partitions.ids(block)[i];
          if (id < 0) {
            EXPECT_EQ(estimates[i], std::numeric_limits<float>::infinity());
          } else {
            const float expected = interleaved(table, query, id);
            EXPECT_NEAR(estimates[i], expected, 1e-5f * (std::fabs(expected) + 100));
          }
        }
      }
    }
  }
}

/// Root mean square of the estimates' errors in units of |q - centre| |vector - centre|.
template <int kBits>
double error_of(const Matrix& base, const Matrix& queries, Metric metric, int64_t lists) {
  CodeParams params;
  params.projection = ProjectionKind::kPcaRotated;
  params.threads = 2;
  const Partitions partitions(base.view(), metric, {.lists = lists, .seed = 4});
  const ResidualBlocks<kBits> blocks(base.view(), metric, partitions, params);
  auto query = blocks.make_query();
  double sum = 0;
  for (int64_t q = 0; q < queries.rows; ++q) {
    blocks.prepare(queries.row(q), query);
    for (int64_t list = 0; list < partitions.lists(); ++list) {
      const float* centre = partitions.centres().row(list);
      const float apart = partitions.centre_distance(queries.row(q), list);
      for (int64_t b = partitions.first_block(list); b < partitions.first_block(list + 1); ++b) {
        alignas(64) float estimates[Partitions::kLanes];
        blocks.prefetch(b);
        blocks.score(query, b, apart, estimates);
        for (int64_t i = 0; i < Partitions::kLanes; ++i) {
          const int32_t id = partitions.ids(b)[i];
          if (id < 0) {
            EXPECT_EQ(estimates[i], std::numeric_limits<float>::infinity());
            continue;
          }
          const double truth = exact_distance(queries.row(q), base.row(id), base.cols, metric);
          const double scale = std::sqrt(exact_l2(queries.row(q), centre, base.cols) *
                                         exact_l2(base.row(id), centre, base.cols));
          if (scale > 0) sum += (estimates[i] - truth) * (estimates[i] - truth) / scale / scale;
        }
      }
    }
  }
  return std::sqrt(sum / static_cast<double>(queries.rows * base.rows));
}

TEST(ResidualBlocks, EstimateWithinTheErrorOfTheirBits) {
  for (const int64_t d : {3, 17, 64, 130, 300}) {
    for (const int64_t n : {1, 33, 400}) {
      const Matrix base = random_matrix(n, d, 5), queries = random_matrix(5, d, 6);
      for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
        for (const int64_t lists : {1, 9}) {
          const double limit = 3.0 / std::sqrt(static_cast<double>(d));
          const double one = error_of<1>(base, queries, metric, lists);
          const double two = error_of<2>(base, queries, metric, lists);
          EXPECT_LT(one, limit) << "d " << d << " n " << n << " " << to_string(metric);
          if (d >= 64 && n > 33) {
            EXPECT_LT(two, 0.75 * one) << "d " << d << " n " << n << " " << to_string(metric);
          }
        }
      }
    }
  }
}

TEST(ResidualBlocks, StayFiniteOnAnyValues) {
  for (const Values values : kAllValues) {
    const Matrix base = random_matrix(70, 33, 11, values);
    CodeParams params;
    params.projection = ProjectionKind::kRotation;
    const Partitions partitions(base.view(), Metric::kL2, {.lists = 3});
    const ResidualBlocks<2> blocks(base.view(), Metric::kL2, partitions, params);
    auto query = blocks.make_query();
    blocks.prepare(base.row(1), query);
    for (int64_t block = 0; block < partitions.blocks(); ++block) {
      HugeArray<float> estimates(Partitions::kLanes);
      blocks.score(query, block, 1.0f, estimates.data());
      for (int64_t i = 0; i < Partitions::kLanes; ++i) {
        EXPECT_TRUE(partitions.ids(block)[i] < 0 || std::isfinite(estimates.data()[i]));
      }
    }
  }
}

}  // namespace
}  // namespace crinn::ann
