// SPDX-License-Identifier: Apache-2.0
#include "leading_axes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "crinn/ann/knn_frame.h"
#include "crinn/base/rng.h"
#include "exact_knn_kernel.h"

namespace crinn::eval {
namespace {

using ann::KnnQuery;
using ann::KnnRow;
using ann::Metric;
using knn::kPanel;

struct Rows {
  int64_t n, d;
  std::vector<float> values;
  MatrixView<const float> view() const { return {values.data(), n, d}; }
};

Rows make(int64_t n, int64_t d, uint64_t seed, const std::function<double(Rng&, int64_t)>& value) {
  Rows rows{n, d, {}};
  Rng rng(seed);
  for (int64_t i = 0; i < n * d; ++i) {
    rows.values.push_back(static_cast<float>(value(rng, i % d)));
  }
  return rows;
}

/// Six dimensions that matter, among d.
double few(Rng& rng, int64_t j) { return (j < 6 ? 1.0 : 0.03) * rng.normal(); }
double all(Rng& rng, int64_t) { return rng.normal(); }

struct Encoded {
  ann::KnnFrame frame;
  ann::KnnEncoder encoder;
  Encoded(const Rows& base, const Rows& queries, Metric metric)
      : frame(
            ann::find_knn_frame({base.view()}, {queries.view()}, metric, ann::KnnFormat::kFp32, 1)),
        encoder(ann::fp32_encoder(metric, base.d, knn::chain(base.d), frame)) {
    encoder.mean = frame.mean.data();
  }
};

/// The first kPanel rows: encoded [kPanel, d], projected [out_rows, kPanel], their terms.
template <class Terms>
struct Panel {
  HugeArray<float> rows, projected;
  std::vector<Terms> terms;
};

template <class Terms, class Encode>
Panel<Terms> project(const Rows& from, const LeadingAxes& axes, const Encode& encode) {
  const int64_t d = from.d;
  Panel<Terms> panel{HugeArray<float>(static_cast<std::size_t>(kPanel * d)),
                     HugeArray<float>(static_cast<std::size_t>(axes.out_rows() * kPanel)),
                     {}};
  HugeArray<float> columns(static_cast<std::size_t>(d * kPanel));
  std::array<double, kPanel> norms{};
  for (int64_t j = 0; j < kPanel; ++j) {
    float* row = panel.rows.data() + j * d;
    panel.terms.push_back(encode(from.view().row(j), reinterpret_cast<uint8_t*>(row)));
    norms[static_cast<std::size_t>(j)] = norm_above(panel.terms.back());
    for (int64_t i = 0; i < d; ++i) columns.data()[i * kPanel + j] = row[i];
  }
  axes.project(columns.data(), norms.data(), panel.projected.data());
  return panel;
}

TEST(LeadingAxes, BoundEveryProduct) {
  for (const int64_t d : {9, 64, 300}) {
    const Rows base = make(400, d, 1, few), queries = make(kPanel, d, 2, few);
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      const Encoded encoded(base, queries, metric);
      for (const int64_t count : {int64_t{1}, int64_t{5}, d / 2, d}) {
        SCOPED_TRACE(std::to_string(d) + " dimensions, " + std::to_string(count) + " axes");
        const LeadingAxes axes =
            make_leading_axes(base.view(), encoded.encoder, std::min<int64_t>(count, 256));
        ASSERT_GT(axes.count(), 0);
        const auto rows = project<KnnRow>(base, axes, [&](const float* x, uint8_t* out) {
          return encoded.encoder.base_row(ann::SerialGroup{}, x, out);
        });
        const auto probes = project<KnnQuery>(queries, axes, [&](const float* x, uint8_t* out) {
          return encoded.encoder.query_row(ann::SerialGroup{}, x, out);
        });
        for (int64_t q = 0; q < kPanel; ++q) {
          for (int64_t i = 0; i < kPanel; ++i) {
            float acc = 0;
            for (int64_t j = 0; j < axes.depth(); ++j) {
              acc +=
                  probes.projected.data()[j * kPanel + q] * rows.projected.data()[j * kPanel + i];
            }
            const double exact =
                ann::exact_dot(probes.rows.data() + q * d, rows.rows.data() + i * d, d);
            const double slope = axes.slope(probes.terms[static_cast<std::size_t>(q)]);
            EXPECT_LE(exact, acc + slope * rows.terms[static_cast<std::size_t>(i)].weight);
          }
        }
      }
    }
  }
}

TEST(LeadingAxes, AreAsTightAsTheDataIsFlat) {
  const Rows base = make(400, 64, 1, few), queries = make(kPanel, 64, 2, few);
  const Encoded encoded(base, queries, Metric::kL2);
  const LeadingAxes axes = make_leading_axes(base.view(), encoded.encoder, 6);
  const auto rows = project<KnnRow>(base, axes, [&](const float* x, uint8_t* out) {
    return encoded.encoder.base_row(ann::SerialGroup{}, x, out);
  });
  for (int64_t i = 0; i < kPanel; ++i) {  // .03 sqrt(58) = .23 against sqrt(6)
    EXPECT_LT(rows.projected.data()[6 * kPanel + i],
              0.5 * rows.terms[static_cast<std::size_t>(i)].weight);
  }
}

TEST(LeadingAxes, AreChosenWhereTheyExcludeRows) {
  const Rows queries = make(2500, 64, 2, few), base = make(5000, 64, 1, few);
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const Encoded encoded(base, queries, metric);
    EXPECT_EQ(choose_leading_axes(base.view(), queries.view(), encoded.encoder, 10, 1).count(), 8);
  }
}

TEST(LeadingAxes, AreNotChosenWhereTheyExcludeNothingOrThereIsLittleToDo) {
  const Rows queries = make(2500, 64, 2, all), base = make(5000, 64, 1, all);
  const Encoded encoded(base, queries, Metric::kL2);
  const LeadingAxes none = choose_leading_axes(base.view(), queries.view(), encoded.encoder, 10, 1);
  EXPECT_EQ(none.count(), 0);
  EXPECT_EQ(none.depth(), 64);
  const Rows flat = make(5000, 64, 1, few), some = make(200, 64, 2, few);
  const Encoded other(flat, some, Metric::kL2);
  EXPECT_EQ(choose_leading_axes(flat.view(), some.view(), other.encoder, 10, 1).count(), 0);
}

TEST(ExactKnnKernel, PassesNoMoreAdditionsThanItsChain) {
  for (const int64_t d : {1, 7, 8, 256, 257, 5000, 10000, 40000}) {
    constexpr int64_t kLanes = 4 * knn::kWidth;
    const int64_t steps = (d + kLanes - 1) / kLanes;
    int64_t lanes = 0;
    while (int64_t{1} << lanes < kLanes) ++lanes;
    EXPECT_GE(knn::chain(d), std::min(d, steps + lanes)) << d;  // what is zero rounds nothing
    EXPECT_GE(knn::chain(d), std::min(d, knn::kDepth) + (d - 1) / knn::kDepth) << d;
  }
}

TEST(LeadingAxes, AreNoneWhereTheyAreFarFromOrthonormal) {
  const Rows base = make(100, 4, 1, all);
  const Encoded encoded(base, base, Metric::kL2);
  EXPECT_EQ(LeadingAxes({1, 0, 0, 0, 1, 0, 0, 0}, 2, encoded.encoder).count(), 0);
  EXPECT_EQ(LeadingAxes({1, 0, 0, 0, 0, NAN, 0, 0}, 2, encoded.encoder).count(), 0);
  EXPECT_EQ(LeadingAxes({1, 0, 0, 0, 0, 1, 0, 0}, 2, encoded.encoder).count(), 2);
}

}  // namespace
}  // namespace crinn::eval
