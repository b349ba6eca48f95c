// SPDX-License-Identifier: Apache-2.0
#include "knn_plan.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "block_select.h"
#include "crinn/base/error.h"
#include "crinn/base/rng.h"

namespace crinn::gpu {
namespace {

struct Rows {
  int64_t n, d;
  std::vector<float> values;
  MatrixView<const float> view() const { return {values.data(), n, d}; }
};

Rows gaussian(int64_t n, int64_t d) {
  Rows rows{n, d, {}};
  Rng rng(7);
  for (int64_t i = 0; i < n * d; ++i) rows.values.push_back(static_cast<float>(rng.normal()));
  return rows;
}

Rows whole(int64_t n, int64_t d, int64_t span) {
  Rows rows{n, d, {}};
  for (int64_t i = 0; i < n * d; ++i) rows.values.push_back(static_cast<float>(i * 37 % span));
  return rows;
}

KnnPlan plan(const Rows& base, const Rows& queries, ann::Metric metric = ann::Metric::kL2,
             int k = 10, DeviceTraits device = {9, 0}, KnnPath asked = KnnPath::kAuto,
             KnnPath given_up = KnnPath::kAuto) {
  return plan_knn(device, {queries.view()}, {base.view()}, metric, k, asked, 1, given_up);
}

void expect_plan(const KnnPlan& plan, KnnPath path, const std::string& why) {
  EXPECT_EQ(plan.path, path) << plan.reason;
  EXPECT_NE(plan.reason.find(why), std::string::npos) << plan.reason;
}

TEST(PlanKnn, TakesTensorCoresForAnyData) {
  expect_plan(plan(gaussian(500, 24), gaussian(20, 24)), KnnPath::kFp16, "fp16");
}

TEST(PlanKnn, TakesIntegersForWholeNumbersOfOneByte) {
  expect_plan(plan(whole(300, 16, 256), whole(9, 16, 256)), KnnPath::kInteger, "whole numbers");
  expect_plan(plan(whole(300, 16, 256), whole(9, 16, 256), ann::Metric::kInnerProduct),
              KnnPath::kInteger, "whole numbers");
}

TEST(PlanKnn, TakesFp16WhereIntegersDoNotFit) {
  for (const auto& refused : {plan(whole(300, 16, 257), whole(9, 16, 257)),
                              plan(whole(300, 16, 256), whole(9, 16, 256), ann::Metric::kCosine),
                              plan(whole(300, 16, 256), gaussian(9, 16))}) {
    EXPECT_EQ(refused.path, KnnPath::kFp16) << refused.reason;
  }
}

TEST(PlanKnn, FallsBackToFp32AndSaysWhy) {
  const Rows base = gaussian(500, 24), queries = gaussian(20, 24);
  expect_plan(plan(base, queries, ann::Metric::kL2, 10, {7, 5}), KnnPath::kFp32, "sm_75");
  expect_plan(plan(base, queries, ann::Metric::kL2, 1025), KnnPath::kFp32, "k = 1025");
  Rows uneven = base;
  for (std::size_t i = 0; i < 50 * 24; ++i) {
    uneven.values[i] *= 1e6f;
    uneven.values[i + 50 * 24] = -uneven.values[i];  // the mean stays where the others are
  }
  expect_plan(plan(uneven, queries), KnnPath::kFp32, "100 of 500 rows");
  Rows far = queries;
  for (float& value : far.values) value += 1e6f;
  expect_plan(plan(base, far), KnnPath::kFp32, "20 of 20 queries");
  // Under the inner product each query has a scale of its own.
  expect_plan(plan(base, far, ann::Metric::kInnerProduct), KnnPath::kFp16, "");
  expect_plan(plan(gaussian(20, 9000), gaussian(2, 9000)), KnnPath::kFp32, "9000 dimensions");
}

TEST(PlanKnn, TakesTheNextPathWhereOneWasGivenUp) {
  const auto after = [](const Rows& base, KnnPath given_up) {
    return plan(base, base, ann::Metric::kL2, 10, {9, 0}, KnnPath::kAuto, given_up);
  };
  expect_plan(after(whole(300, 16, 256), KnnPath::kInteger), KnnPath::kFp16, "fp16");
  expect_plan(after(whole(300, 16, 256), KnnPath::kFp16), KnnPath::kFp32, "beyond fp16");
}

TEST(PlanKnn, NamesTheRowThatASampleStandsFor) {
  Rows base = gaussian(50, 4);
  base.values[30 * 4 + 1] = std::numeric_limits<float>::quiet_NaN();
  try {
    plan_knn({9, 0}, {gaussian(2, 4).view()}, {base.view(), 7}, ann::Metric::kL2, 10,
             KnnPath::kAuto, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    EXPECT_NE(std::string(error.what()).find("base row 210 holds nan"), std::string::npos)
        << error.what();
  }
}

TEST(PlanKnn, ObeysOrRefuses) {
  const Rows base = gaussian(500, 24), queries = gaussian(20, 24);
  const auto asked = [&](KnnPath path, DeviceTraits device) {
    return plan(base, queries, ann::Metric::kL2, 10, device, path).path;
  };
  EXPECT_EQ(asked(KnnPath::kFp32, {9, 0}), KnnPath::kFp32);
  EXPECT_EQ(asked(KnnPath::kFp16, {8, 0}), KnnPath::kFp16);
  for (const auto& [path, device, says] :
       {std::tuple{KnnPath::kFp16, DeviceTraits{7, 0}, "sm_70"},
        std::tuple{KnnPath::kInteger, DeviceTraits{9, 0}, "not all values are whole numbers"}}) {
    try {
      asked(path, device);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), ErrorCategory::kDevice);
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  }
}

TEST(PlanMemory, KeepsWithinTheBudget) {
  const KnnSizes sizes{10000, 1000000, 128, 100, 256, 0, 1 << 20};
  const int64_t capacity = selection_capacity(100);
  for (const int64_t mib : {88, 140, 1000, 70000}) {
    const int64_t budget = mib << 20;
    const KnnMemory memory = plan_memory(budget, sizes);
    EXPECT_GE(memory.tile_queries, 1);
    EXPECT_LE(memory.tile_queries, sizes.queries);
    EXPECT_GE(memory.chunk_rows, 4 * kSegment);
    EXPECT_LE(memory.chunk_rows, sizes.rows);
    const int64_t used =
        sizes.queries * 100 * int64_t{sizeof(Waiting)} +
        memory.tile_queries * (2 * capacity * int64_t{sizeof(Waiting)} + 128 * 4 + 256) +
        memory.buffers * memory.chunk_rows * (128 * 4 + 256 + 4 + int64_t{sizeof(ann::KnnRow)}) +
        sizes.staging_bytes;
    EXPECT_LE(used, memory.bytes) << mib << " MiB";
    EXPECT_LE(memory.bytes, budget) << mib << " MiB";
    // One chunk is loaded while another is searched, unless one is all.
    EXPECT_EQ(memory.buffers, memory.chunk_rows < sizes.rows ? 2 : 1);
  }
  EXPECT_EQ(plan_memory(int64_t{70000} << 20, sizes).chunk_rows, sizes.rows);
}

TEST(PlanMemory, NamesTheLeast) {
  const KnnSizes sizes{10000, 1000000, 128, 100, 256, 0, 1 << 20};
  std::string message;
  try {
    plan_memory(1 << 20, sizes);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    message = error.what();
  }
  const std::size_t at = message.find("the least here is ");
  ASSERT_NE(at, std::string::npos) << message;
  const int64_t least = std::stoll(message.substr(at + 18));
  EXPECT_EQ(plan_memory(least << 20, sizes).tile_queries, 1);
  EXPECT_THROW(plan_memory((least - 2) << 20, sizes), Error);
}

}  // namespace
}  // namespace crinn::gpu
