// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "../property/eval/knn_cases.h"
#include "crinn/base/error.h"
#include "crinn/eval/dataset.h"
#include "on_device.h"
#include "raft_select.h"
#include "reference_knn.h"

namespace crinn::gpu {
namespace {

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};

/// Skips with the reason where there is no device or no RAFT.
class GpuReference : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    if (!IsSkipped() && !raft_missing().empty()) GTEST_SKIP() << raft_missing();
  }
};

/// Values of which many are equal where `distinct` is small.
std::vector<float> values_of(int64_t count, uint64_t distinct) {
  Rng rng(static_cast<uint64_t>(count) + distinct);
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(rng.below(distinct)) - static_cast<float>(distinct) / 2);
  }
  return values;
}

void expect_smallest(int64_t rows, int64_t n, int64_t k, uint64_t distinct) {
  SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(n) + ", k " + std::to_string(k) +
               ", " + std::to_string(distinct) + " values");
  const std::vector<float> values = values_of(rows * n, distinct);
  const Smallest found = select_smallest(values, rows, n, k);
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<float> expected(values.begin() + row * n, values.begin() + (row + 1) * n);
    std::partial_sort(expected.begin(), expected.begin() + k, expected.end());
    expected.resize(static_cast<std::size_t>(k));
    std::vector<float> selected(found.values.begin() + row * k,
                                found.values.begin() + (row + 1) * k);
    for (int64_t j = 0; j < k; ++j) {
      const int64_t id = found.ids[static_cast<std::size_t>(row * k + j)];
      ASSERT_TRUE(id >= 0 && id < n) << id;
      EXPECT_EQ(selected[static_cast<std::size_t>(j)],
                values[static_cast<std::size_t>(row * n + id)]);
    }
    std::sort(selected.begin(), selected.end());
    EXPECT_EQ(selected, expected);
    const std::set<int32_t> distinct_ids(found.ids.begin() + row * k,
                                         found.ids.begin() + (row + 1) * k);
    EXPECT_EQ(static_cast<int64_t>(distinct_ids.size()), k);
  }
}

TEST_F(GpuReference, SelectsWhatASortSelects) {
  for (const int64_t n : {1, 7, 33, 1000, 32768, 100003}) {
    for (const int64_t k :
         {int64_t{1}, int64_t{10}, int64_t{128}, int64_t{256}, int64_t{257}, int64_t{2048}, n}) {
      if (k > n) continue;
      for (const int64_t rows : {1, 3, 130}) {
        if (rows * n > 5000000) continue;
        for (const uint64_t distinct : {uint64_t{1}, uint64_t{5}, uint64_t{1} << 22}) {
          expect_smallest(rows, n, k, distinct);
        }
      }
    }
  }
}

TEST_F(GpuReference, EqualsTheNaiveLoopOnEveryAdversarialInput) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
      const knn_cases::Answer expected = knn_cases::naive(input, metric);
      const Neighbors found = reference_knn(input.query_view(), input.base_view(), metric, input.k);
      EXPECT_EQ(found.ids, expected.ids) << found.plan;
      EXPECT_EQ(found.distances, expected.distances) << found.plan;
    }
  }
}

TEST_F(GpuReference, GivesTheSameNeighboursWithinLittleMemory) {
  const auto input = knn_cases::make("", 60000, 300, 48, 20,
                                     [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  const Neighbors all = reference_knn(input.query_view(), input.base_view(), ann::Metric::kL2, 20);
  const Neighbors some = reference_knn(input.query_view(), input.base_view(), ann::Metric::kL2, 20,
                                       {0, int64_t{8} << 20});
  EXPECT_EQ(some.ids, all.ids);
  EXPECT_EQ(some.distances, all.distances);
}

TEST_F(GpuReference, EveryPathOfExactKnnEqualsIt) {
  for (const ann::Metric metric : kMetrics) {
    const eval::Dataset dataset = eval::load_dataset(
        "synthetic:n=100003,d=97,clusters=50,metric=" + std::string(to_string(metric)) +
        ",seed=3,queries=2051");
    eval::Matrix bytes(dataset.base.rows(), dataset.base.cols());
    eval::Matrix byte_queries(dataset.queries.rows(), dataset.queries.cols());
    const auto round = [](const eval::Matrix& from, eval::Matrix& to) {
      for (int64_t i = 0; i < from.rows(); ++i) {
        for (int64_t j = 0; j < from.cols(); ++j) {
          to.row(i)[j] = std::clamp(std::nearbyint(40 * from.row(i)[j]), -128.0f, 127.0f);
        }
      }
    };
    round(dataset.base, bytes);
    round(dataset.queries, byte_queries);
    for (const bool whole : {false, true}) {
      const MatrixView<const float> base = whole ? bytes.view() : dataset.base.view();
      const MatrixView<const float> queries = whole ? byte_queries.view() : dataset.queries.view();
      for (const int k : {10, 100}) {
        const Neighbors expected = reference_knn(queries, base, metric, k);
        int taken = 0;
        for (const KnnPath path :
             {KnnPath::kAuto, KnnPath::kFp16, KnnPath::kInteger, KnnPath::kFp32}) {
          SCOPED_TRACE(std::string(to_string(metric)) + ", " + std::string(to_string(path)) +
                       (whole ? ", whole numbers" : ""));
          try {
            const Neighbors found = exact_knn(queries, base, metric, k, {{0}, 0, path});
            EXPECT_EQ(found.ids, expected.ids) << found.plan;
            EXPECT_EQ(found.distances, expected.distances) << found.plan;
            ++taken;
          } catch (const Error& error) {  // this data or this device cannot take the path
            if (std::string(error.what()).find("cannot be taken") == std::string::npos) throw;
          }
        }
        EXPECT_GE(taken, 2);
      }
    }
  }
}

TEST(ReferenceKnn, WithoutADeviceOrRaftIsADeviceErrorButRefusesNonsenseFirst) {
  if (device_status().available && raft_missing().empty()) GTEST_SKIP() << "there are both";
  const float value[] = {1, 2};
  const MatrixView<const float> row(value, 1, 2), narrow(value, 1, 1);
  try {
    reference_knn(row, row, ann::Metric::kL2, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 4);
    const DeviceStatus status = device_status();
    const std::string& missing = status.available ? raft_missing() : status.reason;
    EXPECT_NE(std::string(error.what()).find(missing), std::string::npos) << error.what();
  }
  try {
    reference_knn(row, narrow, ann::Metric::kL2, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
  }
  EXPECT_THROW(select_smallest(value, 1, 2, 1), Error);
}

}  // namespace
}  // namespace crinn::gpu
