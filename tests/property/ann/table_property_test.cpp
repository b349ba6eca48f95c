// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/toolbox/float_table.h"
#include "crinn/ann/toolbox/inline_records.h"
#include "crinn/ann/toolbox/integer_table.h"
#include "crinn/ann/toolbox/quantized_table.h"
#include "crinn/ann/toolbox/two_level_table.h"
#include "interleaved.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct};

float exact(const float* a, const float* b, int64_t d, Metric metric) {
  return static_cast<float>(exact_distance(a, b, d, metric));
}

double norm_of(const float* x, int64_t d) { return std::sqrt(exact_dot(x, x, d)); }

template <class T>
class Tables : public testing::Test {};
using TableTypes = testing::Types<Fp32Table, Fp16Table, Bf16Table, Sq8Table, Sq7Table, Sq4Table,
                                  PcaU8Table, IntegerOr<Fp16Table>, TwoLevelTable<4, 4>,
                                  TwoLevelTable<8, 8>, FirstLevel<TwoLevelTable<4, 4>>>;
TYPED_TEST_SUITE(Tables, TableTypes);

/// Worst error, as a part of |q| |x|, that a table of this kind may show on normal data.
double tolerance(const std::string& name) {
  if (name == "fp32") return 1e-5;
  if (name == "fp16") return 2e-3;
  if (name == "bf16") return 1e-2;
  if (name == "sq8") return 0.05;
  if (name == "sq7") return 0.1;
  if (name == "two8x8") return 2e-3;
  if (name == "two4x4") return 0.1;  // what is far out is clipped
  return 0.5;
}

TYPED_TEST(Tables, EstimateTheMetric) {
  for (const Metric metric : kMetrics) {
    for (const int64_t d : {1, 2, 3, 7, 15, 16, 17, 25, 31, 33, 63, 64, 65, 127, 128, 130, 784}) {
      for (const int64_t n : {1, 2, 70}) {
        const Matrix base = random_matrix(n, d, 1 + static_cast<uint64_t>(d));
        const Matrix queries = random_matrix(2, d, 2);
        CodeParams params;
        params.dims = static_cast<int>(d);
        const TypeParam table(base.view(), metric, params);
        ASSERT_EQ(table.size(), n);
        auto query = table.make_query();
        for (int64_t q = 0; q < 2; ++q) {
          table.prepare(queries.row(q), query);
          std::vector<int32_t> ids;
          std::vector<float> one_by_one;
          for (int64_t i = 0; i < n; ++i) {
            ids.push_back(static_cast<int32_t>(n - 1 - i));
            const int64_t id = ids.back();
            one_by_one.push_back(table.distance(query, id));
            const double size = (norm_of(queries.row(q), d) + 1) * (norm_of(base.row(id), d) + 1);
            EXPECT_NEAR(one_by_one.back(), exact(queries.row(q), base.row(id), d, metric),
                        tolerance(TypeParam::kName) * size)
                << TypeParam::kName << " d " << d << " n " << n;
          }
          std::vector<float> together(ids.size());
          distances(table, query, ids.data(), static_cast<int>(n), together.data());
          EXPECT_EQ(together, one_by_one);
        }
        const double size = (norm_of(base.row(0), d) + 1) * (norm_of(base.row(n - 1), d) + 1);
        EXPECT_NEAR(table.between(0, n - 1), exact(base.row(0), base.row(n - 1), d, metric),
                    2 * tolerance(TypeParam::kName) * size)
            << TypeParam::kName << " d " << d << " n " << n;
      }
    }
  }
}

TYPED_TEST(Tables, StayFiniteOnAnyValues) {
  for (const Metric metric : kMetrics) {
    for (const Values values : kAllValues) {
      const Matrix base = random_matrix(40, 19, 5, values);
      const Matrix other = random_matrix(1, 19, 6);
      const TypeParam table(base.view(), metric, {});
      auto query = table.make_query();
      for (const float* q : {base.row(0), other.row(0)}) {
        table.prepare(q, query);
        for (int64_t i = 0; i < 40; ++i) {
          EXPECT_TRUE(std::isfinite(table.distance(query, i)));
          EXPECT_TRUE(std::isfinite(table.between(0, i)));
        }
      }
    }
  }
}

TYPED_TEST(Tables, AreTheSameAtAnyNumberOfThreads) {
  const Matrix base = decaying_matrix(3000, 40, 7);
  CodeParams params;
  const TypeParam one(base.view(), Metric::kL2, params);
  params.threads = 3;
  const TypeParam three(base.view(), Metric::kL2, params);
  auto query = one.make_query();
  one.prepare(base.row(1), query);
  auto query3 = three.make_query();
  three.prepare(base.row(1), query3);
  for (int64_t i = 0; i < 3000; ++i) {
    ASSERT_EQ(one.distance(query, i), three.distance(query3, i));
  }
}

template <class Bits>
class Quantized : public testing::Test {};
using AllBits = testing::Types<std::integral_constant<int, 1>, std::integral_constant<int, 2>,
                               std::integral_constant<int, 4>, std::integral_constant<int, 7>,
                               std::integral_constant<int, 8>>;
TYPED_TEST_SUITE(Quantized, AllBits);

constexpr ProjectionKind kKinds[] = {ProjectionKind::kNone, ProjectionKind::kPca,
                                     ProjectionKind::kPcaRotated, ProjectionKind::kRotation};

TYPED_TEST(Quantized, AgreesWithItsNaiveTwin) {
  constexpr int kBits = TypeParam::value;
  for (const Metric metric : kMetrics) {
    for (const ProjectionKind kind : kKinds) {
      for (const ScaleRule rule : {ScaleRule::kGlobal, ScaleRule::kPerDimension}) {
        for (const int64_t d : {1, 3, 8, 17, 60, 65, 130}) {
          const Matrix base = decaying_matrix(50, d, 3);
          const Matrix queries = decaying_matrix(3, d, 4);
          CodeParams params;
          params.projection = kind;
          params.scale = rule;
          params.dims = kind == ProjectionKind::kNone ? 0 : static_cast<int>(d / 2 + 1);
          const QuantizedTable<kBits> table(base.view(), metric, params);
          auto query = table.make_query();
          for (int64_t q = 0; q < 3; ++q) {
            table.prepare(queries.row(q), query);
            for (int64_t i = 0; i < 50; ++i) {
              // Half a step of the query's int8 in every dimension, at the codes' full range.
              const double reach = std::fabs(static_cast<double>(query.slope)) * 0.5 *
                                   static_cast<double>(table.dims()) *
                                   (is_fine(kBits) ? 1 << (kBits - 1) : ((1 << kBits) - 1) * 0.5);
              const double factor =
                  is_fine(kBits) ? 1 : static_cast<double>(table.records().factor(i));
              const float slow = table.records().distance_slow(queries.row(q), i);
              EXPECT_NEAR(table.distance(query, i), slow,
                          reach * factor + 1e-5 * (norm_of(queries.row(q), d) + 1) *
                                               (norm_of(base.row(i), d) + 1))
                  << "d " << d << " kind " << static_cast<int>(kind);
              EXPECT_NEAR(table.between(i, 0), table.records().between_slow(i, 0),
                          1e-4 * (norm_of(base.row(0), d) + 1) * (norm_of(base.row(i), d) + 1));
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(Quantized, RescoringGivesEachCandidateItsDistance) {
  const Matrix base = decaying_matrix(50, 70, 3);
  const QuantizedTable<TypeParam::value> table(base.view(), Metric::kL2, {});
  auto query = table.make_query();
  table.prepare(base.row(7), query);
  for (int32_t count = 0; count <= 13; ++count) {
    for (const std::size_t ahead : {0, 1, 6, 40}) {
      std::vector<Candidate> candidates;
      for (int32_t i = 0; i < count; ++i) candidates.push_back({-1, i * 3});
      rescore(table, query, candidates, ahead);
      for (int32_t i = 0; i < count; ++i) {
        EXPECT_EQ(candidates[static_cast<std::size_t>(i)].id, i * 3);
        EXPECT_EQ(candidates[static_cast<std::size_t>(i)].estimate, table.distance(query, i * 3));
      }
    }
  }
}

TYPED_TEST(Quantized, InlineRecordsScoreWhatTheTableScores) {
  constexpr int kBits = TypeParam::value;
  Rng rng(5);
  for (const Metric metric : kMetrics) {
    for (const int64_t degree : {1, 3, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 130}) {
      const int64_t d = 1 + static_cast<int64_t>(rng.below(90));
      const Matrix base = decaying_matrix(140, d, 6);
      Graph graph(140, static_cast<int>(degree));
      for (int64_t node = 0; node < 140; ++node) {
        const auto filled = static_cast<int64_t>(rng.below(static_cast<uint64_t>(degree) + 1));
        for (int64_t i = 0; i < filled; ++i) {
          graph.row(node)[i] = static_cast<int32_t>(rng.below(140));
        }
      }
      CodeParams params;
      params.projection = ProjectionKind::kPca;
      params.precision = QueryPrecision::kInt8;
      params.dims = 1 + static_cast<int>(rng.below(static_cast<uint64_t>(d)));
      params.threads = 2;
      const InlineRecords<kBits> records(base.view(), metric, graph, params);
      ASSERT_EQ(records.lanes(), round_up(degree, 16));
      auto query = records.make_query();
      records.prepare(base.row(17), query);
      HugeArray<float> estimates(static_cast<std::size_t>(std::max<int64_t>(records.lanes(), 64)));
      const int32_t some[] = {3, 139, 0, 17, 17};
      const auto block = records.make_block(some);
      ASSERT_EQ(block.lanes, 16);
      records.score(query, block, estimates.data());
      for (int64_t i = 0; i < 16; ++i) {
        if (i >= 5) {
          EXPECT_EQ(estimates[i], std::numeric_limits<float>::infinity());
          continue;
        }
        const float expected = interleaved(records.table(), query, some[i]);
        EXPECT_NEAR(estimates[i], expected, 1e-5f * (std::fabs(expected) + 100));
      }
      for (int64_t node = 0; node < 140; ++node) {
        records.prefetch(node);
        records.score(query, node, estimates.data());
        for (int64_t i = 0; i < records.lanes(); ++i) {
          const int32_t id = records.ids(node)[i];
          ASSERT_EQ(id, i < degree ? graph.row(node)[i] : -1);
          if (id < 0) {
            EXPECT_EQ(estimates[i], std::numeric_limits<float>::infinity());
          } else {
            const float expected = interleaved(records.table(), query, id);
            EXPECT_NEAR(estimates[i], expected, 1e-5f * (std::fabs(expected) + 100));
          }
        }
      }
    }
  }
}

TEST(InlineRecords, IdsTakeTwoBytesWhereAllFit) {
  for (const int64_t n : {65'534, 65'535, 65'536}) {
    const Matrix base = decaying_matrix(n, 3, 6);
    Graph graph(n, 3);
    for (int64_t node = 0; node < n; ++node) {
      graph.row(node)[0] = static_cast<int32_t>(n - 1 - node);
      if (node % 2 == 0) graph.row(node)[1] = static_cast<int32_t>(node);
    }
    const InlineRecords<8> records(base.view(), Metric::kL2, graph, {});
    EXPECT_EQ(records.record_bytes(), n <= 65'535 ? 128 : 192) << n;
    for (int64_t node = 0; node < n; ++node) {
      for (int64_t i = 0; i < records.lanes(); ++i) {
        ASSERT_EQ(records.ids(node)[i], i < 3 ? graph.row(node)[i] : -1) << n;
      }
    }
  }
}

TYPED_TEST(Quantized, ScanBlocksScoreEveryVectorOnce) {
  constexpr int kBits = TypeParam::value;
  for (const int64_t n : {1, 63, 64, 65, 200}) {
    const Matrix base = decaying_matrix(n, 37, 8);
    CodeParams params;
    params.projection = ProjectionKind::kRotation;
    const ScanBlocks<kBits> scan(base.view(), Metric::kL2, params);
    const QuantizedTable<kBits> table(base.view(), Metric::kL2, params);
    auto query = scan.make_query();
    scan.prepare(base.row(0), query);
    alignas(64) float estimates[64];
    ASSERT_EQ(scan.blocks(), (n + 63) / 64);
    for (int64_t block = 0; block < scan.blocks(); ++block) {
      scan.score(query, block, estimates);
      for (int64_t i = 0; i < 64; ++i) {
        if (block * 64 + i < n) {
          const float expected = interleaved(table, query, block * 64 + i);
          EXPECT_NEAR(estimates[i], expected, 1e-5f * (std::fabs(expected) + 100));
        } else {
          EXPECT_EQ(estimates[i], std::numeric_limits<float>::infinity());
        }
      }
    }
  }
}

TEST(QuantizedRanking, EightBitsAfterPcaEstimateDistancesWell) {
  const Matrix base = decaying_matrix(2000, 128, 9);
  const Matrix queries = decaying_matrix(20, 128, 9);
  const PcaU8Table table(base.view(), Metric::kL2, {});
  EXPECT_EQ(table.bytes(), 2000u * 64u);
  auto query = table.make_query();
  double sum = 0;
  int far_off = 0;
  for (int64_t q = 0; q < 20; ++q) {
    table.prepare(queries.row(q), query);
    for (int64_t i = 0; i < 2000; ++i) {
      const double truth = exact_l2(queries.row(q), base.row(i), 128);
      const double error =
          std::fabs(static_cast<double>(table.distance(query, i)) - truth) / (truth + 20);
      sum += error;
      far_off += error > 0.03;
    }
  }
  EXPECT_LT(sum / 40000, 0.005);
  EXPECT_LT(far_off, 40);  // of 40,000: what the range clips
}

TEST(U8ExactTable, IsExactForIntegersOfAnyOffset) {
  Rng rng(10);
  for (const float low : {0.0f, -128.0f, 1000.0f, -3.0f}) {
    for (const int64_t d : {1, 3, 63, 64, 65, 128, 200}) {
      Matrix base(30, d), query(1, d);
      for (float& x : base.values) x = low + static_cast<float>(rng.below(256));
      for (float& x : query.values) x = low + static_cast<float>(rng.below(256));
      ASSERT_TRUE(U8ExactTable::fits(base.view()));
      for (const Metric metric : kMetrics) {
        const U8ExactTable table(base.view(), metric, {});
        auto prepared = table.make_query();
        // An integral query, then one that is not, then one out of range.
        for (const float change : {0.0f, 0.25f, 5000.0f}) {
          query.row(0)[0] += change;
          table.prepare(query.row(0), prepared);
          for (int64_t i = 0; i < 30; ++i) {
            const float truth = exact(query.row(0), base.row(i), d, metric);
            const double size = norm_of(query.row(0), d) * norm_of(base.row(i), d);
            EXPECT_NEAR(table.distance(prepared, i), truth,
                        1e-6 * (1 + static_cast<double>(d) / 20) * (size + std::fabs(truth)));
            EXPECT_NEAR(table.between(i, 0), exact(base.row(i), base.row(0), d, metric),
                        1e-6 * norm_of(base.row(i), d) * norm_of(base.row(0), d));
          }
        }
      }
    }
  }
}

TEST(U8ExactTable, RefusesWhatItCannotHold) {
  Matrix base(2, 2);
  base.values = {0, 1, 2, 256};
  EXPECT_FALSE(U8ExactTable::fits(base.view()));
  base.values = {0, 1, 2.5f, 3};
  EXPECT_FALSE(U8ExactTable::fits(base.view()));
  base.values = {0, 1, std::numeric_limits<float>::quiet_NaN(), 3};
  EXPECT_FALSE(U8ExactTable::fits(base.view()));
  base.values = {-1, 1, 2, 254};
  EXPECT_TRUE(U8ExactTable::fits(base.view()));
  const IntegerOr<Fp16Table> integers(base.view(), Metric::kL2);
  EXPECT_TRUE(integers.exact());
  base.values = {-1, 1, 2, 254.5f};
  const IntegerOr<Fp16Table> halves(base.view(), Metric::kL2);
  EXPECT_FALSE(halves.exact());
}

}  // namespace
}  // namespace crinn::ann
