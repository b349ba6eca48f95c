// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/distances.h"

#include <gtest/gtest.h>

#include "../property/eval/knn_cases.h"
#include "on_device.h"

namespace crinn::gpu {
namespace {

class GpuDistances : public OnDevice {};

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};

TEST_F(GpuDistances, OfAllPairsHaveTheCpusBits) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      for (const ann::Precision precision : {ann::Precision::kFp32, ann::Precision::kExact}) {
        SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
        const auto found =
            pairwise_distances(input.query_view(), input.base_view(), metric, precision);
        const auto expected =
            ann::pairwise_distances(input.query_view(), input.base_view(), metric, precision, 1);
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          // fp32 overflows to inf - inf at 1e38: NaN on both sides.
          EXPECT_TRUE(found[i] == expected[i] ||
                      (found[i] != found[i] && expected[i] != expected[i]))
              << i << ": " << found[i] << ", " << expected[i];
        }
      }
    }
  }
}

TEST_F(GpuDistances, OfGatheredRowsHaveTheCpusBits) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
      std::vector<int64_t> ids;
      Rng rng(5);
      for (int64_t i = 0; i < input.nq * 7; ++i) {
        ids.push_back(static_cast<int64_t>(rng.below(static_cast<uint64_t>(input.n + 1))) - 1);
      }
      EXPECT_EQ(gathered_distances(input.query_view(), input.base_view(), metric, ids, 7),
                ann::gathered_distances(input.query_view(), input.base_view(), metric, ids, 7, 1));
    }
  }
}

}  // namespace
}  // namespace crinn::gpu
