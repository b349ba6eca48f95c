// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/distances.h"

#include <gtest/gtest.h>

#include <limits>

#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "crinn/gpu/knn.h"

namespace crinn::ann {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};

std::vector<float> values(int64_t count) {
  std::vector<float> result;
  Rng rng(static_cast<uint64_t>(count));
  for (int64_t i = 0; i < count; ++i) result.push_back(static_cast<float>(rng.normal()));
  return result;
}

TEST(PairwiseDistances, ExactOnesAreExactDistanceRoundedOnce) {
  const std::vector<float> a = values(3 * 21), b = values(40 * 21);
  const MatrixView<const float> queries(a.data(), 3, 21), base(b.data(), 40, 21);
  for (const Metric metric : kMetrics) {
    const auto found = pairwise_distances(queries, base, metric, Precision::kExact, 2);
    for (int64_t q = 0; q < 3; ++q) {
      for (int64_t i = 0; i < 40; ++i) {
        EXPECT_EQ(found[static_cast<std::size_t>(q * 40 + i)],
                  static_cast<float>(exact_distance(queries.row(q), base.row(i), 21, metric)));
      }
    }
  }
}

TEST(PairwiseDistances, InFp32AreWithinTheRoundingOfTheirSum) {
  for (const int64_t d : {1, 3, 7, 8, 9, 64, 130}) {
    const std::vector<float> a = values(3 * d), b = values(11 * d);
    const MatrixView<const float> queries(a.data(), 3, d), base(b.data(), 11, d);
    for (const Metric metric : kMetrics) {
      const auto found = pairwise_distances(queries, base, metric, Precision::kFp32, 1);
      for (int64_t q = 0; q < 3; ++q) {
        for (int64_t i = 0; i < 11; ++i) {
          const double exact = exact_distance(queries.row(q), base.row(i), d, metric);
          const double magnitude = metric == Metric::kCosine
                                       ? 4
                                       : exact_dot(queries.row(q), queries.row(q), d) +
                                             exact_dot(base.row(i), base.row(i), d) +
                                             std::fabs(exact);
          EXPECT_NEAR(found[static_cast<std::size_t>(q * 11 + i)], exact,
                      (static_cast<double>(d) / 8 + 16) * 0x1p-23 * magnitude)
              << d << " dimensions, " << to_string(metric);
        }
      }
    }
  }
}

TEST(PairwiseDistances, DoNotDependOnPaddingWithZeros) {
  const std::vector<float> a = values(21), b = values(21);
  std::vector<float> wide_a(32), wide_b(32);
  std::copy(a.begin(), a.end(), wide_a.begin());
  std::copy(b.begin(), b.end(), wide_b.begin());
  for (const Metric metric : kMetrics) {
    EXPECT_EQ(fp32_distance(a.data(), b.data(), 21, metric),
              fp32_distance(wide_a.data(), wide_b.data(), 32, metric));
  }
}

TEST(GatheredDistances, AreExactAndInfiniteWithoutARow) {
  const std::vector<float> a = values(2 * 5), b = values(9 * 5);
  const MatrixView<const float> queries(a.data(), 2, 5), base(b.data(), 9, 5);
  const std::vector<int64_t> ids = {8, -1, 0, 3, 3, 1};
  for (const Metric metric : kMetrics) {
    const auto found = gathered_distances(queries, base, metric, ids, 3, 2);
    for (std::size_t at = 0; at < ids.size(); ++at) {
      const auto q = static_cast<int64_t>(at) / 3;
      EXPECT_EQ(found[at], ids[at] < 0
                               ? std::numeric_limits<double>::infinity()
                               : exact_distance(queries.row(q), base.row(ids[at]), 5, metric));
    }
  }
}

TEST(GatheredDistances, NameTheIdThatIsNoRow) {
  const std::vector<float> a = values(2 * 5), b = values(9 * 5);
  const MatrixView<const float> queries(a.data(), 2, 5), base(b.data(), 9, 5);
  const std::vector<int64_t> ids = {8, 2, 0, 9};
  try {
    gathered_distances(queries, base, Metric::kL2, ids, 2, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    EXPECT_NE(std::string(error.what()).find("query 1 names row 9"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(gathered_distances(queries, base, Metric::kL2, ids, 3, 1), Error);
  const MatrixView<const float> narrow(b.data(), 9, 4);
  EXPECT_THROW(pairwise_distances(queries, narrow, Metric::kL2, Precision::kFp32, 1), Error);
}

TEST(GpuDistances, WithoutADeviceAreADeviceErrorButRefuseNonsenseFirst) {
  if (gpu::device_status().available) GTEST_SKIP() << "there is a device";
  const float value[] = {1, 2};
  const MatrixView<const float> row(value, 1, 2), narrow(value, 1, 1);
  const std::vector<int64_t> ids = {0}, beyond = {1};
  const auto category = [](const auto& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.category();
    }
    return ErrorCategory::kTryAgain;
  };
  EXPECT_EQ(category([&] { gpu::pairwise_distances(row, row, Metric::kL2, Precision::kFp32); }),
            ErrorCategory::kDevice);
  EXPECT_EQ(category([&] { gpu::gathered_distances(row, row, Metric::kL2, ids, 1); }),
            ErrorCategory::kDevice);
  EXPECT_EQ(category([&] { gpu::pairwise_distances(row, narrow, Metric::kL2, Precision::kFp32); }),
            ErrorCategory::kUsage);
  EXPECT_EQ(category([&] { gpu::gathered_distances(row, row, Metric::kL2, beyond, 1); }),
            ErrorCategory::kUsage);
}

}  // namespace
}  // namespace crinn::ann
