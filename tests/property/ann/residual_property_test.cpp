// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/toolbox/fast_scan.h"
#include "crinn/ann/toolbox/residual_records.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

template <int kBlocks>
void check_sums(int64_t groups, bool extremes, Rng& rng) {
  const int64_t stride = groups * 8 + 24;
  std::vector<uint8_t> codes(static_cast<std::size_t>(stride * kBlocks));
  std::vector<uint8_t> table(static_cast<std::size_t>(groups * 16));
  for (uint8_t& byte : codes) byte = static_cast<uint8_t>(rng.below(256));
  for (uint8_t& entry : table) entry = static_cast<uint8_t>(extremes ? 248 : rng.below(249));
  uint16_t out[kBlocks * 16], expected[16];
  sum_lookups<kBlocks>(codes.data(), stride, groups, table.data(), out);
  for (int b = 0; b < kBlocks; ++b) {
    scalar::sum_lookups(codes.data() + b * stride, groups, table.data(), expected);
    for (int lane = 0; lane < 16; ++lane) {
      ASSERT_EQ(out[b * 16 + lane], expected[lane]) << groups << " groups, lane " << lane;
    }
  }
}

TEST(FastScan, AgreesWithTheScalarTwin) {
  Rng rng(1);
  for (const bool extremes : {false, true}) {
    for (int64_t groups = 8; groups <= 264; groups += 8) {
      check_sums<1>(groups, extremes, rng);
      check_sums<2>(groups, extremes, rng);
      check_sums<4>(groups, extremes, rng);
    }
  }
}

TEST(FastScan, GivesEveryGroupARowOfItsOwn) {
  std::vector<bool> taken(64, false);
  for (int64_t group = 0; group < 64; ++group) {
    const int64_t row = scan_table_row(group) / 16;
    EXPECT_EQ(scan_table_row(group) % 16, 0);
    ASSERT_LT(row, 64);
    EXPECT_FALSE(taken[static_cast<std::size_t>(row)]);
    taken[static_cast<std::size_t>(row)] = true;
  }
}

TEST(FastScan, GivesEveryCodeAPlaceOfItsOwn) {
  std::vector<bool> taken(64 * 16, false);
  for (int64_t group = 0; group < 64; ++group) {
    for (int64_t lane = 0; lane < 16; ++lane) {
      const int64_t byte = scan_code_byte(group, lane);
      const int shift = scan_code_shift(group);
      ASSERT_LT(byte, 64 * 8);
      ASSERT_TRUE(shift == 0 || shift == 4);
      EXPECT_EQ(byte / 64, group / 8) << "codes of eight groups fill one line";
      const auto place = static_cast<std::size_t>(byte * 2 + shift / 4);
      EXPECT_FALSE(taken[place]) << "group " << group << ", lane " << lane;
      taken[place] = true;
    }
  }
}

/// Node i points to i + 1, i + 2, ... (mod n); the last rows are shorter.
Graph ring(int64_t n, int degree) {
  Graph graph(n, degree);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t length = i % 3 == 0 ? degree / 2 : degree;
    for (int64_t j = 0; j < length; ++j) {
      graph.row(i)[j] = static_cast<int32_t>((i + 1 + j) % n);
    }
  }
  graph.entry_points = {0};
  return graph;
}

double distance(const Matrix& a, int64_t i, const Matrix& b, int64_t j, Metric metric) {
  return exact_distance(a.row(i), b.row(j), a.cols, metric);
}

/// Root mean square of the estimates' errors in units of |q - node| |neighbour - node|.
template <int kBits>
double error_of(const Matrix& base, const Matrix& queries, Metric metric, int degree,
                CodeParams params) {
  const Graph graph = ring(base.rows, degree);
  const ResidualRecords<kBits> records(base.view(), metric, graph, params);
  EXPECT_GE(records.lanes(), degree);
  EXPECT_EQ(records.lanes() % 16, 0);
  auto query = records.make_query();
  std::vector<float> estimates(static_cast<std::size_t>(records.lanes()));
  double sum = 0;
  int64_t count = 0;
  for (int64_t q = 0; q < queries.rows; ++q) {
    records.prepare(queries.row(q), query);
    for (int64_t node = 0; node < base.rows; ++node) {
      records.score(query, node, static_cast<float>(distance(queries, q, base, node, metric)),
                    estimates.data());
      for (int64_t j = 0; j < records.lanes(); ++j) {
        const int32_t id = records.ids(node)[j];
        const float estimate = estimates[static_cast<std::size_t>(j)];
        EXPECT_EQ(id, j < degree ? graph.row(node)[j] : -1);
        if (id < 0) {
          EXPECT_EQ(estimate, std::numeric_limits<float>::infinity());
          continue;
        }
        const double scale = std::sqrt(distance(queries, q, base, node, Metric::kL2) *
                                       distance(base, id, base, node, Metric::kL2));
        const double error = (estimate - distance(queries, q, base, id, metric)) / scale;
        sum += error * error;
        ++count;
      }
    }
  }
  return std::sqrt(sum / static_cast<double>(count));
}

TEST(ResidualRecords, EstimateWithinTheErrorOfTheirBits) {
  for (const int64_t d : {3, 17, 64, 130, 300}) {
    const Matrix base = random_matrix(50, d, 5), queries = random_matrix(6, d, 6);
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
      for (const int degree : {5, 16, 32, 40}) {
        CodeParams params;
        params.projection = ProjectionKind::kPcaRotated;
        params.threads = degree % 3 + 1;
        const double one = error_of<1>(base, queries, metric, degree, params);
        const double two = error_of<2>(base, queries, metric, degree, params);
        // 2 <q - c, o - c>: the part of o - c that the signs miss is sqrt(1 - 2 / pi) = .6 of it
        // and meets q - c in a random direction; under inner product half of that, but of |q|.
        const double limit = 3.0 / std::sqrt(static_cast<double>(d));
        EXPECT_LT(one, limit) << "d " << d << " degree " << degree << " " << to_string(metric);
        if (d >= 64) {
          EXPECT_LT(two, 0.75 * one) << "d " << d << " " << to_string(metric);
        }
      }
    }
  }
}

TEST(ResidualRecords, KnowTheNormOfWhatTheProjectionDrops) {
  const Matrix base = decaying_matrix(400, 96, 7), queries = decaying_matrix(4, 96, 8);
  CodeParams params;
  params.projection = ProjectionKind::kPcaRotated;
  params.dims = 32;
  EXPECT_LT(error_of<1>(base, queries, Metric::kL2, 16, params), 0.6);
}

TEST(ResidualRecords, AreExactForANeighbourInTheSamePlace) {
  Matrix base = random_matrix(20, 40, 9);
  std::copy_n(base.row(3), 40, base.row(4));  // 3 points to 4
  const Graph graph = ring(20, 8);
  CodeParams params;
  params.projection = ProjectionKind::kRotation;
  const ResidualRecords<1> records(base.view(), Metric::kL2, graph, params);
  auto query = records.make_query();
  const Matrix queries = random_matrix(1, 40, 10);
  records.prepare(queries.row(0), query);
  std::vector<float> estimates(16);
  records.score(query, 3, 12.5f, estimates.data());
  EXPECT_EQ(estimates[0], 12.5f);
}

TEST(ResidualRecords, StayFiniteOnAnyValues) {
  for (const Values values : kAllValues) {
    const Matrix base = random_matrix(30, 33, 11, values),
                 queries = random_matrix(2, 33, 12, values);
    CodeParams params;
    params.projection = ProjectionKind::kPcaRotated;
    const ResidualRecords<2> records(base.view(), Metric::kL2, ring(30, 8), params);
    auto query = records.make_query();
    std::vector<float> estimates(16);
    for (int64_t q = 0; q < 2; ++q) {
      records.prepare(queries.row(q), query);
      for (int64_t node = 0; node < 30; ++node) {
        records.score(query, node, 1.0f, estimates.data());
        for (int j = 0; j < 16; ++j) {
          EXPECT_TRUE(records.ids(node)[j] < 0 || std::isfinite(estimates[j]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace crinn::ann
