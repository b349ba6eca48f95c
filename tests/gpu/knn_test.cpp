// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/knn.h"

#include <gtest/gtest.h>

#include "../property/eval/knn_cases.h"
#include "crinn/base/error.h"
#include "crinn/eval/dataset.h"
#include "on_device.h"

namespace crinn::gpu {
namespace {

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};

class GpuKnn : public OnDevice {};

/// A path that the planner refuses for this input or this device proves nothing.
void expect_naive(const knn_cases::Case& input, ann::Metric metric, KnnPath path) {
  SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)) + ", " +
               std::string(to_string(path)));
  const knn_cases::Answer expected = knn_cases::naive(input, metric);
  try {
    const Neighbors found =
        exact_knn(input.query_view(), input.base_view(), metric, input.k, {{0}, 0, path});
    EXPECT_EQ(found.ids, expected.ids) << found.plan;
    EXPECT_EQ(found.distances, expected.distances) << found.plan;
  } catch (const Error& error) {
    if (std::string(error.what()).find("cannot be taken") == std::string::npos) throw;
  }
}

TEST_F(GpuKnn, EveryPathEqualsTheNaiveLoopOnEveryAdversarialInput) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      for (const KnnPath path :
           {KnnPath::kAuto, KnnPath::kFp16, KnnPath::kInteger, KnnPath::kFp32}) {
        expect_naive(input, metric, path);
      }
    }
  }
}

TEST_F(GpuKnn, GivesTheSameNeighboursWithinLittleMemory) {
  const auto input = knn_cases::make("", 60000, 300, 48, 20,
                                     [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  const Neighbors all = exact_knn(input.query_view(), input.base_view(), ann::Metric::kL2, 20);
  for (const KnnPath path : {KnnPath::kAuto, KnnPath::kFp32}) {
    const Neighbors some = exact_knn(input.query_view(), input.base_view(), ann::Metric::kL2, 20,
                                     {{0}, int64_t{48} << 20, path});
    EXPECT_EQ(some.ids, all.ids) << some.plan;
    EXPECT_EQ(some.distances, all.distances) << some.plan;
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
