// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/toolbox/two_level_table.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

template <class Levels>
class TwoLevels : public testing::Test {};
template <int kFirst, int kSecond>
struct Levels {
  static constexpr int kCoarse = kFirst, kFine = kSecond;
  using Table = TwoLevelTable<kFirst, kSecond>;
};
using AllLevels = testing::Types<Levels<4, 4>, Levels<4, 8>, Levels<8, 4>, Levels<8, 8>>;
TYPED_TEST_SUITE(TwoLevels, AllLevels);

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct};

TYPED_TEST(TwoLevels, AgreeWithTheirNaiveTwin) {
  for (const Metric metric : kMetrics) {
    for (const ProjectionKind kind : {ProjectionKind::kNone, ProjectionKind::kPcaRotated}) {
      for (const ScaleRule rule : {ScaleRule::kGlobal, ScaleRule::kPerDimension}) {
        for (const int64_t d : {1, 2, 3, 7, 8, 17, 63, 64, 65, 130, 257}) {
          const Matrix base = decaying_matrix(40, d, 3), queries = decaying_matrix(3, d, 4);
          CodeParams params;
          params.projection = kind;
          params.scale = rule;
          params.dims = kind == ProjectionKind::kNone ? 0 : static_cast<int>(d / 2 + 1);
          const typename TypeParam::Table table(base.view(), metric, params);
          auto query = table.make_query();
          for (int64_t q = 0; q < 3; ++q) {
            table.prepare(queries.row(q), query);
            // A 508th of the query's step at the codes' full range, and a quarter of one of its
            // steps and one of the first level's where the low halves are not multiplied.
            const double range = TypeParam::kCoarse == 8 ? 128 : 8;
            const double dropped = TypeParam::kFine == 4 ? 0.25 : 0;
            const auto m = static_cast<double>(table.first().dims());
            const double reach =
                2 * std::fabs(static_cast<double>(query.scale)) * m * (range / 508 + dropped);
            for (int64_t i = 0; i < 40; ++i) {
              const double size = exact_dot(queries.row(q), queries.row(q), d) +
                                  exact_dot(base.row(i), base.row(i), d) + 1;
              EXPECT_NEAR(table.distance(query, i),
                          table.second().distance_slow(table.first().records(), queries.row(q), i),
                          reach + 1e-5 * size)
                  << "d " << d;
              EXPECT_EQ(table.first().distance(query.first, i), [&] {
                auto own = table.first().make_query();
                table.first().prepare(queries.row(q), own);
                return table.first().distance(own, i);
              }());
            }
          }
        }
      }
    }
  }
}

/// Root mean square of the errors of both levels, and of the first.
template <class Table>
std::pair<double, double> errors(const Matrix& base, const Matrix& queries, Metric metric) {
  const Table table(base.view(), metric, {});
  auto query = table.make_query();
  double both = 0, first = 0;
  for (int64_t q = 0; q < queries.rows; ++q) {
    table.prepare(queries.row(q), query);
    for (int64_t i = 0; i < base.rows; ++i) {
      const double truth = exact_distance(queries.row(q), base.row(i), base.cols, metric);
      both += std::pow(table.distance(query, i) - truth, 2);
      first += std::pow(table.first().distance(query.first, i) - truth, 2);
    }
  }
  const auto count = static_cast<double>(queries.rows * base.rows);
  return {std::sqrt(both / count), std::sqrt(first / count)};
}

TYPED_TEST(TwoLevels, EstimateFarBetterThanTheFirst) {
  for (const Metric metric : kMetrics) {
    for (const int64_t d : {16, 100, 784}) {
      const Matrix base = random_matrix(300, d, 5), queries = random_matrix(10, d, 6);
      const auto [both, first] = errors<typename TypeParam::Table>(base, queries, metric);
      // 8 bits of the query limit a first level of 8 bits; four more bits are 16 times better.
      const double gain = TypeParam::kCoarse == 8 ? 3 : TypeParam::kFine == 4 ? 6 : 12;
      EXPECT_LT(both * gain, first) << "d " << d << " " << to_string(metric);
    }
  }
}

}  // namespace
}  // namespace crinn::ann
