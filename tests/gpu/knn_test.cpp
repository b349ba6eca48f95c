// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/knn.h"

#include <gtest/gtest.h>

#include "../property/eval/knn_cases.h"
#include "crinn/eval/dataset.h"

namespace crinn::gpu {
namespace {

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};

class GpuKnn : public testing::Test {
 protected:
  void SetUp() override {
    const DeviceStatus status = device_status();
    if (!status.available) GTEST_SKIP() << status.reason;
  }
};

TEST_F(GpuKnn, EqualsTheNaiveLoopOnEveryAdversarialInput) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
      const knn_cases::Answer expected = knn_cases::naive(input, metric);
      const Neighbors found = exact_knn(input.query_view(), input.base_view(), metric, input.k);
      EXPECT_EQ(found.ids, expected.ids);
      EXPECT_EQ(found.distances, expected.distances);
    }
  }
}

TEST_F(GpuKnn, EqualsTheCpuBitForBitOverSeveralTiles) {
  for (const ann::Metric metric : kMetrics) {
    const eval::Dataset dataset = eval::load_dataset(
        "synthetic:n=100003,d=97,clusters=50,metric=" + std::string(to_string(metric)) +
        ",seed=3,queries=2051");
    const eval::GroundTruth expected =
        eval::exact_knn(dataset.base.view(), dataset.queries.view(), metric, 100, 4);
    const Neighbors found = exact_knn(dataset.queries.view(), dataset.base.view(), metric, 100);
    EXPECT_EQ(found.ids, expected.ids);
    EXPECT_EQ(found.distances, expected.distances);
  }
}

TEST_F(GpuKnn, HonoursTheStrideOfAView) {
  const auto wide =
      knn_cases::make("", 5000, 6, 20, 5, [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  const MatrixView<const float> base(wide.base.data(), 5000, 13, 20);
  const MatrixView<const float> queries(wide.queries.data(), 6, 13, 20);
  EXPECT_EQ(exact_knn(queries, base, ann::Metric::kL2, 5).ids,
            eval::exact_knn(base, queries, ann::Metric::kL2, 5, 1).ids);
}

}  // namespace
}  // namespace crinn::gpu
