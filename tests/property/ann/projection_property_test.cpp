// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/projection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/base/error.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

std::vector<float> project(const Projection& projection, const float* x) {
  std::vector<float> out(static_cast<std::size_t>(projection.out_capacity()));
  projection.apply(x, out.data());
  out.resize(static_cast<std::size_t>(projection.dims()));
  return out;
}

TEST(Hadamard, AgreesWithTheScalarTwin) {
  Rng rng(1);
  for (int64_t n = 1; n <= 4096; n *= 2) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& value : x) value = draw(Values::kNormal, rng);
    std::vector<float> expected = x;
    scalar::hadamard(expected.data(), n);
    hadamard(x.data(), n);
    for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(x[i], expected[i], 1e-5 * std::sqrt(n) * 4) << n;
  }
}

TEST(Projection, FullOnesKeepInnerProducts) {
  for (const ProjectionKind kind : {ProjectionKind::kNone, ProjectionKind::kPca,
                                    ProjectionKind::kPcaRotated, ProjectionKind::kRotation}) {
    for (const int64_t d : {1, 2, 3, 16, 31, 100, 130}) {
      const Matrix base = decaying_matrix(300, d, 2);
      const Projection projection(base.view(), kind, 0, QueryPrecision::kFp32, 3);
      EXPECT_GE(projection.dims(), d);
      const auto a = project(projection, base.row(0)), b = project(projection, base.row(1));
      const double truth = exact_dot(base.row(0), base.row(1), d);
      const double size = std::sqrt(exact_dot(base.row(0), base.row(0), d) *
                                    exact_dot(base.row(1), base.row(1), d));
      EXPECT_NEAR(exact_dot(a.data(), b.data(), projection.dims()), truth, 2e-5 * size)
          << static_cast<int>(kind) << " " << d;
    }
  }
}

TEST(Projection, PcaKeepsNearlyAllTheVarianceThatItsDimensionsCan) {
  const int64_t d = 200;
  const Matrix base = decaying_matrix(1000, d, 4, 6);
  // All components by the dense solver; the leading ones by iteration.
  const Projection all(base.view(), ProjectionKind::kPca, 0, QueryPrecision::kFp32, 5);
  const Projection some(base.view(), ProjectionKind::kPca, 40, QueryPrecision::kFp32, 5);
  ASSERT_EQ(some.dims(), 40);
  double best = 0, kept = 0;
  std::vector<float> centered(static_cast<std::size_t>(d));
  for (int64_t i = 0; i < 1000; ++i) {
    for (int64_t j = 0; j < d; ++j) centered[j] = base.row(i)[j] - all.mean()[j];
    const auto a = project(all, centered.data()), b = project(some, centered.data());
    best += exact_dot(a.data(), a.data(), 40);
    kept += exact_dot(b.data(), b.data(), 40);
  }
  EXPECT_GT(kept, 0.999 * best);
  EXPECT_LT(kept, 1.0001 * best);
}

TEST(Projection, ShortRotationsKeepLengthsOnAverage) {
  const Matrix base = random_matrix(200, 100, 6);
  const Projection projection(base.view(), ProjectionKind::kRotation, 64, QueryPrecision::kFp32, 7);
  double before = 0, after = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const auto x = project(projection, base.row(i));
    before += exact_dot(base.row(i), base.row(i), 100);
    after += exact_dot(x.data(), x.data(), 64);
  }
  EXPECT_NEAR(after / before, 1.0, 0.05);
}

TEST(Projection, QueryPrecisionsAgree) {
  for (const int64_t d : {1, 2, 3, 5, 17, 64, 99, 260, 600}) {
    for (const int dims : {1, 7, 16, 33, 60, 80, 130}) {
      const Matrix base = decaying_matrix(200, d, 8);
      const Matrix queries = decaying_matrix(4, d, 9);
      const auto make = [&](QueryPrecision precision) {
        return Projection(base.view(), ProjectionKind::kPca, dims, precision, 10);
      };
      const Projection plain = make(QueryPrecision::kFp32), half = make(QueryPrecision::kBf16),
                       bytes = make(QueryPrecision::kInt8);
      for (int64_t q = 0; q < 4; ++q) {
        const float* x = queries.row(q);
        const auto truth = project(plain, x);
        const double length = std::sqrt(exact_dot(x, x, d));
        for (const auto& [projection, part] :
             {std::pair{&plain, 1e-5}, std::pair{&half, 1e-2}, std::pair{&bytes, 4e-2}}) {
          std::vector<float> out(static_cast<std::size_t>(projection->out_capacity()));
          std::vector<int8_t> work(static_cast<std::size_t>(projection->work_capacity()));
          projection->apply_query(x, out.data(), work.data());
          for (int64_t i = 0; i < projection->dims(); ++i) {
            EXPECT_NEAR(out[i], truth[i], part * length + 1e-6) << d << " " << dims;
          }
        }
      }
    }
  }
}

/// What `some` loses of the projected variance of rows, against fp32 and all values.
double lost_variance(const Projection& some, const Matrix& rows, int64_t n, bool centered) {
  const int64_t d = some.input_dims();
  std::vector<float> moved(static_cast<std::size_t>(d));
  std::vector<float> out(static_cast<std::size_t>(some.out_capacity()));
  std::vector<int8_t> work(static_cast<std::size_t>(some.work_capacity()));
  double lost = 0, all = 0;
  for (int64_t q = 0; q < n; ++q) {
    for (int64_t j = 0; j < d; ++j) moved[j] = rows.row(q)[j] - some.mean()[j];
    const auto wanted = project(some, centered ? moved.data() : rows.row(q));
    const auto variance = project(some, moved.data());
    if (centered) {
      some.apply_centered(rows.row(q), moved.data(), out.data(), work.data());
    } else {
      some.apply_query(rows.row(q), out.data(), work.data());
    }
    for (int64_t i = 0; i < some.dims(); ++i) {
      lost += std::pow(static_cast<double>(out[i] - wanted[i]), 2);
      all += std::pow(static_cast<double>(variance[i]), 2);
    }
  }
  return lost / all;
}

TEST(Projection, FewerInputsLoseNoMoreOfTheVarianceThanAsked) {
  constexpr int64_t kRows = 2000, kMoreRows = 200;
  for (const bool sparse : {false, true}) {
    for (const int64_t d : {40, 203, 500}) {
      Matrix base = decaying_matrix(kRows + kMoreRows, d, 13);
      for (int64_t i = 0; sparse && i < kRows + kMoreRows; ++i) {
        for (int64_t j = 0; j < d; ++j) base.row(i)[j] = std::max(base.row(i)[j] - 1.5f, 0.0f);
      }
      Matrix others(kMoreRows, d);
      for (int64_t i = 0; i < kMoreRows; ++i) {
        std::copy_n(base.row(kRows + i), d, others.row(i));
      }
      const MatrixView<const float> fitted(base.row(0), kRows, d);
      int64_t fewer_before = d + 1;
      for (const float loss : {0.0f, 0.003f, 0.05f, 0.2f}) {
        const Projection some(fitted, ProjectionKind::kPcaRotated, 20, QueryPrecision::kInt8, 14,
                              loss);
        EXPECT_LE(some.query_inputs(), fewer_before) << d << " " << loss;
        fewer_before = some.query_inputs();
        EXPECT_TRUE(loss > 0.0f || some.query_inputs() == d);
        EXPECT_TRUE(some.query_inputs() == d || some.query_inputs() % 4 == 0);
        for (const bool centered : {false, true}) {
          EXPECT_LT(lost_variance(some, others, kMoreRows, centered), 1.4 * loss + 0.006)
              << "d " << d << " loss " << loss << " sparse " << sparse << " " << centered;
        }
      }
      EXPECT_LT(fewer_before, d / 2) << d << " " << sparse;
    }
  }
}

TEST(Projection, FewerInputsWhereThereIsNothingToChooseFrom) {
  const auto inputs = [](const Matrix& base) {
    const Projection some(base.view(), ProjectionKind::kPca, 8, QueryPrecision::kInt8, 15, 0.01f);
    EXPECT_LT(lost_variance(some, base, 1, true), 0.02);
    return some.query_inputs();
  };
  EXPECT_EQ(inputs(random_matrix(500, 8, 16)), 8);  // nothing predicts the others
  Matrix copies = random_matrix(500, 64, 17);       // eight different ones
  for (int64_t i = 0; i < 500; ++i) {
    for (int64_t j = 8; j < 64; ++j) copies.row(i)[j] = copies.row(i)[j % 8];
  }
  EXPECT_EQ(inputs(copies), 8);
  Matrix constant(20, 30);
  for (int64_t i = 0; i < 20; ++i) std::fill_n(constant.row(i), 30, 3.0f);
  const Projection none(constant.view(), ProjectionKind::kPca, 8, QueryPrecision::kInt8, 15, 0.01f);
  EXPECT_EQ(none.query_inputs(), 30);
}

TEST(Projection, IsTheSameForASeedAndTakesAnyNumberOfRows) {
  for (const int64_t n : {1, 2, 9, 500}) {
    const Matrix base = decaying_matrix(n, 33, 11);
    for (const ProjectionKind kind :
         {ProjectionKind::kPca, ProjectionKind::kPcaRotated, ProjectionKind::kRotation}) {
      const Projection a(base.view(), kind, 12, QueryPrecision::kFp32, 12);
      const Projection b(base.view(), kind, 12, QueryPrecision::kFp32, 12);
      const auto x = project(a, base.row(0));
      EXPECT_EQ(x, project(b, base.row(0)));
      for (const float value : x) EXPECT_TRUE(std::isfinite(value));
    }
  }
}

TEST(Projection, SampleRowsAreUniqueAndInRange) {
  for (const int64_t n : {1, 2, 10, 99, 1000}) {
    const auto rows = detail::sample_rows(n, 100, 1);
    EXPECT_EQ(static_cast<int64_t>(rows.size()), std::min<int64_t>(n, 100));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_GE(rows[i], i == 0 ? 0 : rows[i - 1] + 1);
      EXPECT_LT(rows[i], n);
    }
  }
}

TEST(Projection, RefusesAnEmptyBase) {
  const Matrix base(0, 5);
  EXPECT_THROW(Projection(base.view(), ProjectionKind::kNone, 0, QueryPrecision::kFp32, 0), Error);
}

}  // namespace
}  // namespace crinn::ann
