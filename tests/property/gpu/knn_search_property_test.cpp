// SPDX-License-Identifier: Apache-2.0
// The whole search of the device paths on the CPU's twin: the kernels' code, tensor cores emulated.
#include "knn_search.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

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
int64_t memory_for(const knn_cases::Case& input, int64_t row_bytes, int64_t rows) {
  int64_t low = 0, high = kPlenty;
  const int64_t k = std::min<int64_t>(input.k, input.n);
  while (high - low > 64) {
    const int64_t middle = low + (high - low) / 2;
    bool enough = false;
    try {
      enough =
          plan_memory(middle, {input.nq, input.n, input.d, k, row_bytes, 0, 0}).chunk_rows >= rows;
    } catch (const Error&) {
    }
    (enough ? high : low) = middle;
  }
  return high;
}

PlannedSearch search(HostDevice& device, const knn_cases::Case& input, ann::Metric metric,
                     KnnPath path, int64_t memory = kPlenty) {
  return plan_and_search(device, kTensorCores, input.query_view(), input.base_view(), metric,
                         input.k, path, memory, false, 1);
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
      HostDevice device(most_rows);
      const PlannedSearch found = search(device, input, metric, path);
      EXPECT_EQ(found.path, path);
      expect_naive(input, metric, found.neighbors);
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
      for (const int64_t most : {kMostRows, int64_t{257}}) {
        HostDevice device(most);
        const PlannedSearch found = search(device, input, metric, KnnPath::kAuto);
        expect_naive(input, metric, found.neighbors);
        fitting += found.path == KnnPath::kInteger;
      }
    }
  }
  EXPECT_GE(fitting, 40);
}

TEST(KnnSearch, DoesNotDependOnTheChunks) {
  std::vector<knn_cases::Case> cases = knn_cases::all_cases();
  // Rows and queries that fp16 does not hold, in every chunk.
  cases.push_back(knn_cases::make("outliers", 9000, 6, 5, 12, [](Rng& rng, int64_t i, int64_t) {
    return (i % 1000 == 7 || i == 9002 ? 1e5 : 1.0) * rng.normal();
  }));
  for (const knn_cases::Case& input : cases) {
    if (input.n < 9000) continue;  // two chunks of the least size are smaller
    for (const ann::Metric metric : {ann::Metric::kL2, ann::Metric::kInnerProduct}) {
      SCOPED_TRACE(label(input, metric, KnnPath::kFp16));
      HostDevice device(kMostRows);
      const int64_t memory = memory_for(input, (2 * input.d + 31) / 32 * 32, 4100);
      const PlannedSearch found = search(device, input, metric, KnnPath::kFp16, memory);
      EXPECT_EQ(found.memory.buffers, 2);
      expect_naive(input, metric, found.neighbors);
    }
  }
}

/// Every row is nearer than all before it: what a large piece finds cannot fit a buffer.
TEST(KnnSearch, RepeatsWhatOverflowsABuffer) {
  const auto input = knn_cases::make("nearest last", 20000, 3, 2, 10, [](Rng&, int64_t i, int64_t) {
    return i < 20000 ? static_cast<double>(30000 - i) * 0.37 : static_cast<double>(i - 20000);
  });
  HostDevice device(kMostRows);
  expect_naive(input, ann::Metric::kL2,
               search(device, input, ann::Metric::kL2, KnnPath::kFp16).neighbors);
  EXPECT_GT(device.overflows(), 0);
}

TEST(KnnSearch, ComparesExactlyWhatFp16DoesNotHold) {
  const auto input = knn_cases::make("", 900, 40, 24, 10, [](Rng& rng, int64_t i, int64_t) {
    return (i < 900 && i % 300 == 7 ? 1e4 : i == 930 ? 1e9 : 1.0) * rng.normal();
  });
  for (const ann::Metric metric : kMetrics) {
    SCOPED_TRACE(to_string(metric));
    HostDevice device(kMostRows);
    const PlannedSearch found = search(device, input, metric, KnnPath::kAuto);
    ASSERT_EQ(found.path, KnnPath::kFp16) << found.reason;
    expect_naive(input, metric, found.neighbors);
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
    HostDevice device(kMostRows);
    expect_naive(input, ann::Metric::kL2,
                 search(device, input, ann::Metric::kL2, KnnPath::kFp16).neighbors);
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
            HostDevice device(kMostRows);
            Neighbors part =
                plan_and_search(device, kTensorCores, input.query_view(),
                                input.base_view().slice(first, count), ann::Metric::kL2, input.k,
                                KnnPath::kAuto, kPlenty, false, 1)
                    .neighbors;
            part.plan = "shard";
            return part;
          });
      expect_naive(input, ann::Metric::kL2, found);
    }
  }
}

/// Rows of `type`, three elements apart from each other, and the same as fp32.
template <class T>
void check_type(ElementType type, KnnPath path, const std::function<T(Rng&)>& draw) {
  constexpr int64_t kRows = 500, kQueries = 7, kColumns = 21, kStride = 24;
  Rng rng(5);
  std::vector<T> values;
  for (int64_t i = 0; i < (kRows + kQueries) * kStride; ++i) values.push_back(draw(rng));
  const auto input = knn_cases::make(
      "", kRows, kQueries, kColumns, 10,
      [&](Rng&, int64_t i, int64_t j) { return element_of(values.data() + i * kStride, type, j); });
  const KnnMatrix base(values.data(), type, kRows, kColumns, kStride, false);
  const KnnMatrix queries(base.row(kRows), type, kQueries, kColumns, kStride, false);
  for (const ann::Metric metric : kMetrics) {
    SCOPED_TRACE(to_string(metric));
    HostDevice device(kMostRows);
    const PlannedSearch found = plan_and_search(device, kTensorCores, queries, base, metric, 10,
                                                KnnPath::kAuto, kPlenty, false, 1);
    EXPECT_EQ(found.path, metric == ann::Metric::kCosine ? KnnPath::kFp16 : path);
    expect_naive(input, metric, found.neighbors);
  }
}

TEST(KnnSearch, ReadsEveryElementType) {
  check_type<float>(ElementType::kFp32, KnnPath::kFp16,
                    [](Rng& rng) { return static_cast<float>(rng.normal()); });
  check_type<uint16_t>(ElementType::kFp16, KnnPath::kFp16,
                       [](Rng& rng) { return ann::half_bits(static_cast<float>(rng.normal())); });
  check_type<uint8_t>(ElementType::kU8, KnnPath::kInteger,
                      [](Rng& rng) { return static_cast<uint8_t>(rng.below(256)); });
  check_type<int8_t>(ElementType::kI8, KnnPath::kInteger,
                     [](Rng& rng) { return static_cast<int8_t>(rng.below(256)); });
}

/// More rows than plans look at: value(i) in the rows that no sample shows, whole numbers in all
/// others.
knn_cases::Case unseen(const std::function<float(int64_t)>& value) {
  constexpr int64_t kRows = 2 * kPlanRows;
  return knn_cases::make("", kRows, 2, 2, 10, [&](Rng& rng, int64_t i, int64_t) {
    const auto whole = static_cast<float>(rng.below(200));
    return i < kRows && i % plan_step(kRows, 2) != 0 ? value(i) : whole;
  });
}

TEST(KnnSearch, ComparesExactlyWhatASampleDidNotShow) {
  // One row of 1,000 is not whole; a path is not given up for those.
  const auto input = unseen([](int64_t i) { return i % 1000 == 1 ? 0.5f : 7.0f; });
  HostDevice device(kMostRows);
  const PlannedSearch found = search(device, input, ann::Metric::kL2, KnnPath::kAuto);
  EXPECT_EQ(found.path, KnnPath::kInteger);
  EXPECT_EQ(device.taken(), 132);
  expect_naive(input, ann::Metric::kL2, found.neighbors);
}

TEST(KnnSearch, PlansAgainWhereASampleMisled) {
  const auto halves = unseen([](int64_t) { return 0.5f; });
  HostDevice device(kMostRows);
  const PlannedSearch in_fp16 = search(device, halves, ann::Metric::kL2, KnnPath::kAuto);
  EXPECT_EQ(in_fp16.path, KnnPath::kFp16);
  expect_naive(halves, ann::Metric::kL2, in_fp16.neighbors);
  const auto far = unseen([](int64_t i) { return i % 3 == 0 ? 1e9f : 0.5f; });
  const PlannedSearch in_fp32 = search(device, far, ann::Metric::kL2, KnnPath::kAuto);
  EXPECT_EQ(in_fp32.path, KnnPath::kFp32);
  expect_naive(far, ann::Metric::kL2, in_fp32.neighbors);
}

TEST(KnnSearch, NamesARowThatIsNotFiniteWhereverItIs) {
  for (const int64_t bad : {int64_t{10}, int64_t{4321}, 2 * kPlanRows - 1}) {
    const auto input = unseen([=](int64_t i) { return i == (bad | 1) ? INFINITY : 3.0f; });
    for (const KnnPath path : {KnnPath::kAuto, KnnPath::kFp16, KnnPath::kFp32}) {
      HostDevice device(kMostRows);
      try {
        search(device, input, ann::Metric::kL2, path);
        FAIL() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.category(), ErrorCategory::kUsage);
        const std::string says = "base row " + std::to_string(bad | 1) + " holds inf";
        EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
      }
    }
  }
}

TEST(KnnSearch, LoadsTheNextChunkWhileOneIsSearched) {
  const auto input =
      knn_cases::make("", 9000, 6, 5, 12, [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  HostDevice device(kMostRows);
  std::atomic<int> loads{0}, passes{0};
  std::atomic<bool> waited{false};
  // Queries and the first chunk come before the first pass. That does not end before the second
  // chunk is on its way.
  device.on_load = [&] { ++loads; };
  device.on_scan = [&] {
    if (passes++ > 0) return;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (loads < 3 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    waited = loads >= 3;
  };
  const int64_t memory = memory_for(input, 32, 4100);
  const PlannedSearch found = search(device, input, ann::Metric::kL2, KnnPath::kFp16, memory);
  EXPECT_TRUE(waited);
  expect_naive(input, ann::Metric::kL2, found.neighbors);
}

}  // namespace
}  // namespace crinn::gpu
