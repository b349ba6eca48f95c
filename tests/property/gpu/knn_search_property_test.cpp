// SPDX-License-Identifier: Apache-2.0
// The whole search of the device paths on the CPU's twin: the kernels' code, tensor cores emulated.
#include "knn_search.h"

#include <gtest/gtest.h>

#include "../eval/knn_cases.h"
#include "crinn/base/error.h"
#include "host_device.h"
#include "shards.h"

namespace crinn::gpu {
namespace {

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};
constexpr DeviceTraits kTensorCores{8, 0};
constexpr int64_t kPlenty = int64_t{1} << 32;
constexpr int64_t kMostRows = 256 * 1024;

std::string label(const knn_cases::Case& input, ann::Metric metric, KnnPath path) {
  return input.name + ", " + std::string(to_string(metric)) + ", " + std::string(to_string(path));
}

/// Bytes in which plan_memory() gives a chunk of about `rows`.
int64_t memory_for(const knn_cases::Case& input, const PassRows& pass, int64_t rows) {
  int64_t low = 0, high = kPlenty;
  const int64_t k = std::min<int64_t>(input.k, input.n);
  while (high - low > 64) {
    const int64_t middle = low + (high - low) / 2;
    bool enough = false;
    try {
      enough =
          plan_memory(middle, {input.nq, input.n, input.d, k, pass.row_bytes(), 0}).chunk_rows >=
          rows;
    } catch (const Error&) {
    }
    (enough ? high : low) = middle;
  }
  return high;
}

void expect_naive(const knn_cases::Case& input, ann::Metric metric, const Neighbors& found) {
  const knn_cases::Answer expected = knn_cases::naive(input, metric);
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(found.distances, expected.distances);
}

void check_path(KnnPath path, int64_t most_rows) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      SCOPED_TRACE(label(input, metric, path));
      const KnnPlan plan =
          plan_knn(kTensorCores, input.query_view(), input.base_view(), metric, input.k, path, 1);
      HostDevice device(most_rows);
      expect_naive(input, metric,
                   KnnSearch<HostDevice>(device, *plan.rows, input.query_view(), input.base_view(),
                                         metric, input.k, kPlenty)
                       .run(false));
    }
  }
}

TEST(KnnSearch, Fp16EqualsTheNaiveLoopOnEveryAdversarialInput) {
  check_path(KnnPath::kFp16, kMostRows);
}

TEST(KnnSearch, Fp16DoesNotDependOnThePieces) { check_path(KnnPath::kFp16, 300); }

TEST(KnnSearch, Fp32EqualsTheNaiveLoopOnEveryAdversarialInput) {
  check_path(KnnPath::kFp32, kMostRows);
}

/// Data of `row_count` whole numbers in [low, high].
knn_cases::Case integers(const std::string& name, int64_t n, int64_t d, int k, int low, int high) {
  return knn_cases::make(name, n, 9, d, k, [=](Rng& rng, int64_t, int64_t) {
    return low + static_cast<double>(rng.below(static_cast<uint64_t>(high - low) + 1));
  });
}

std::vector<knn_cases::Case> integer_cases() {
  std::vector<knn_cases::Case> cases = knn_cases::all_cases();
  cases.push_back(integers("u8", 700, 128, 10, 0, 255));
  cases.push_back(integers("s8", 700, 33, 10, -128, 127));
  cases.push_back(integers("a million and bytes", 500, 31, 10, 1000000, 1000255));
  cases.push_back(integers("far below zero", 500, 40, 300, -4000, -3900));
  cases.push_back(integers("784 dimensions", 300, 784, 10, 0, 255));
  // The queries of one side, the rows of the other: the largest sums.
  cases.push_back(knn_cases::make("extremes", 300, 5, 1500, 10, [](Rng& rng, int64_t i, int64_t) {
    return rng.below(50) == 0 ? 7.0 : i < 300 ? 255.0 : 0.0;
  }));
  return cases;
}

TEST(KnnSearch, IntegersEqualTheNaiveLoopWhereTheyFit) {
  int fitting = 0;
  for (const knn_cases::Case& input : integer_cases()) {
    for (const ann::Metric metric : kMetrics) {
      SCOPED_TRACE(label(input, metric, KnnPath::kInteger));
      const KnnPlan plan = plan_knn(kTensorCores, input.query_view(), input.base_view(), metric,
                                    input.k, KnnPath::kAuto, 1);
      if (plan.rows->path() != KnnPath::kInteger) continue;
      ++fitting;
      for (const int64_t most : {kMostRows, int64_t{257}}) {
        HostDevice device(most);
        expect_naive(input, metric,
                     KnnSearch<HostDevice>(device, *plan.rows, input.query_view(),
                                           input.base_view(), metric, input.k, kPlenty)
                         .run(false));
      }
    }
  }
  EXPECT_GE(fitting, 20);
}

TEST(KnnSearch, DoesNotDependOnTheChunks) {
  std::vector<knn_cases::Case> cases = knn_cases::all_cases();
  // Rows and queries that fp16 does not hold, in every chunk.
  cases.push_back(knn_cases::make("outliers", 9000, 6, 5, 12, [](Rng& rng, int64_t i, int64_t) {
    return (i % 1000 == 7 || i == 9002 ? 1e5 : 1.0) * rng.normal();
  }));
  for (const knn_cases::Case& input : cases) {
    if (input.n < 5000) continue;
    for (const ann::Metric metric : {ann::Metric::kL2, ann::Metric::kInnerProduct}) {
      SCOPED_TRACE(label(input, metric, KnnPath::kFp16));
      const KnnPlan plan = plan_knn(kTensorCores, input.query_view(), input.base_view(), metric,
                                    input.k, KnnPath::kFp16, 1);
      HostDevice device(kMostRows);
      const int64_t memory = memory_for(input, *plan.rows, std::min<int64_t>(input.n, 4100));
      expect_naive(input, metric,
                   KnnSearch<HostDevice>(device, *plan.rows, input.query_view(), input.base_view(),
                                         metric, input.k, memory)
                       .run(false));
    }
  }
}

/// Every row is nearer than all before it: what a large piece finds cannot fit a buffer.
TEST(KnnSearch, RepeatsWhatOverflowsABuffer) {
  const auto input = knn_cases::make("nearest last", 20000, 3, 2, 10, [](Rng&, int64_t i, int64_t) {
    return i < 20000 ? static_cast<double>(30000 - i) * 0.37 : static_cast<double>(i - 20000);
  });
  const KnnPlan plan = plan_knn(kTensorCores, input.query_view(), input.base_view(),
                                ann::Metric::kL2, input.k, KnnPath::kFp16, 1);
  HostDevice device(kMostRows);
  expect_naive(input, ann::Metric::kL2,
               KnnSearch<HostDevice>(device, *plan.rows, input.query_view(), input.base_view(),
                                     ann::Metric::kL2, input.k, kPlenty)
                   .run(false));
  EXPECT_GT(device.overflows(), 0);
}

TEST(KnnSearch, ComparesExactlyWhatFp16DoesNotHold) {
  const auto input = knn_cases::make("", 900, 40, 24, 10, [](Rng& rng, int64_t i, int64_t) {
    return (i < 900 && i % 300 == 7 ? 1e4 : i == 930 ? 1e9 : 1.0) * rng.normal();
  });
  for (const ann::Metric metric : kMetrics) {
    SCOPED_TRACE(to_string(metric));
    const KnnPlan plan = plan_knn(kTensorCores, input.query_view(), input.base_view(), metric,
                                  input.k, KnnPath::kAuto, 1);
    ASSERT_EQ(plan.rows->path(), KnnPath::kFp16) << plan.reason;
    HostDevice device(kMostRows);
    expect_naive(input, metric,
                 KnnSearch<HostDevice>(device, *plan.rows, input.query_view(), input.base_view(),
                                       metric, input.k, kPlenty)
                     .run(false));
    // Three rows, and under kL2 one query, for which all rows count.
    const int64_t expected = metric == ann::Metric::kL2             ? 903
                             : metric == ann::Metric::kInnerProduct ? 3
                                                                    : 0;
    EXPECT_EQ(device.taken(), expected);
  }
}

/// What the certificate is for: few rows beyond k wait.
TEST(KnnSearch, Fp16BoundsExcludeNearlyAllRows) {
  for (const int64_t d : {100, 960}) {
    const auto input = knn_cases::make(
        "", 4000, 8, d, 100, [](Rng& rng, int64_t, int64_t) { return 10 + rng.normal(); });
    const KnnPlan plan = plan_knn(kTensorCores, input.query_view(), input.base_view(),
                                  ann::Metric::kL2, input.k, KnnPath::kFp16, 1);
    HostDevice device(kMostRows);
    const Neighbors found =
        KnnSearch<HostDevice>(device, *plan.rows, input.query_view(), input.base_view(),
                              ann::Metric::kL2, input.k, kPlenty)
            .run(false);
    expect_naive(input, ann::Metric::kL2, found);
    EXPECT_LT(device.waiting(), 8 * 150) << d << " dimensions";
  }
}

TEST(KnnSearch, GivesTheSameNeighboursAtAnyNumberOfShards) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    if (input.n > 3000) continue;
    for (const int shards : {1, 2, 5}) {
      SCOPED_TRACE(input.name + ", " + std::to_string(shards) + " shards");
      const Neighbors found =
          search_shards(input.n, input.nq, input.k, shards, [&](int, int64_t first, int64_t count) {
            const auto base = input.base_view().slice(first, count);
            const KnnPlan plan = plan_knn(kTensorCores, input.query_view(), base, ann::Metric::kL2,
                                          input.k, KnnPath::kAuto, 1);
            HostDevice device(kMostRows);
            Neighbors part = KnnSearch<HostDevice>(device, *plan.rows, input.query_view(), base,
                                                   ann::Metric::kL2, input.k, kPlenty)
                                 .run(false);
            part.plan = "shard";
            return part;
          });
      expect_naive(input, ann::Metric::kL2, found);
    }
  }
}

}  // namespace
}  // namespace crinn::gpu
