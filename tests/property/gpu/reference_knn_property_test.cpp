// SPDX-License-Identifier: Apache-2.0
// The reference search on loops of the host: in place of RAFT a sort that breaks ties as it is
// told, in place of cuBLAS the plain loop.
#include <gtest/gtest.h>

#include <cstring>

#include "../eval/knn_cases.h"
#include "host_array.h"
#include "reference_search.h"

namespace crinn::gpu {
namespace {

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};
constexpr int64_t kPlenty = int64_t{1} << 32;

/// Which of equal values select_smallest() takes.
enum class Ties { kFirst, kLast, kAny };
constexpr Ties kAllTies[] = {Ties::kFirst, Ties::kLast, Ties::kAny};

class HostReference {
 public:
  template <class T>
  using Array = HostArray<T>;

  explicit HostReference(Ties ties) : ties_(ties) {}

  /// Pairs that were multiplied, and calls that did it.
  int64_t pairs() const { return pairs_; }
  int64_t tiles() const { return tiles_; }

  static void copy_matrix(Array<float>& target, MatrixView<const float> source) {
    for (int64_t i = 0; i < source.rows; ++i) {
      std::copy_n(source.row(i), source.cols, target.get() + i * source.cols);
    }
  }

  void products(const float* q, int64_t queries, const float* x, int64_t rows, int64_t d,
                float* out) {
    pairs_ += queries * rows;
    ++tiles_;
    for (int64_t i = 0; i < queries * rows; ++i) {
      float sum = 0;
      for (int64_t j = 0; j < d; ++j) sum += q[i / rows * d + j] * x[i % rows * d + j];
      out[i] = sum;
    }
  }

  void select_smallest(const float* values, int64_t rows, int64_t n, int64_t k, float* out_values,
                       int32_t* out_ids) {
    ASSERT_LE(k, n);
    std::vector<int32_t> columns(static_cast<std::size_t>(n));
    for (int64_t row = 0; row < rows; ++row, values += n, out_values += k, out_ids += k) {
      std::iota(columns.begin(), columns.end(), 0);
      if (ties_ == Ties::kAny) rng_.shuffle(columns);
      if (ties_ == Ties::kLast) std::reverse(columns.begin(), columns.end());
      std::stable_sort(columns.begin(), columns.end(),
                       [&](int32_t a, int32_t b) { return values[a] < values[b]; });
      std::vector<int32_t> chosen(columns.begin(), columns.begin() + k);
      rng_.shuffle(chosen);
      for (std::size_t j = 0; j < chosen.size(); ++j) {
        out_values[j] = values[chosen[j]];
        out_ids[j] = chosen[j];
      }
    }
  }

  template <class Body>
  static void for_each(int64_t queries, int64_t places, const Body& body) {
    for (int64_t q = 0; q < queries; ++q) {
      for (int64_t at = 0; at < places; ++at) body(q, at);
    }
  }

 private:
  Ties ties_;
  Rng rng_{7};
  int64_t pairs_ = 0, tiles_ = 0;
};

Neighbors search(HostReference& device, const knn_cases::Case& input, ann::Metric metric,
                 int64_t memory = kPlenty) {
  return ReferenceSearch<HostReference>(device, input.query_view(), input.base_view(), metric,
                                        input.k, memory, 1)
      .run();
}

void expect_naive(const knn_cases::Case& input, ann::Metric metric, const Neighbors& found) {
  const knn_cases::Answer expected = knn_cases::naive(input, metric);
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(found.distances, expected.distances);
}

TEST(ReferenceSearch, EqualsTheNaiveLoopOnEveryAdversarialInputHoweverTiesFall) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) {
      for (const Ties ties : kAllTies) {
        SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)) + ", ties " +
                     std::to_string(static_cast<int>(ties)));
        HostReference device(ties);
        expect_naive(input, metric, search(device, input, metric));
      }
    }
  }
}

TEST(ReferenceSearch, DoesNotDependOnTheMemory) {
  std::vector<knn_cases::Case> cases = knn_cases::all_cases();
  // Ties within chunks and across them.
  cases.push_back(knn_cases::make(
      "forty vectors", 3000, 13, 64, 100,
      [](Rng&, int64_t i, int64_t j) { return std::sin(static_cast<double>(i % 40 * 64 + j)); }));
  int many = 0;
  for (const knn_cases::Case& input : cases) {
    if (input.d < 33) continue;
    SCOPED_TRACE(input.name);
    // Of which three quarters go to chunks, here of 50 to 450 rows.
    HostReference device(Ties::kLast), roomy(Ties::kLast);
    expect_naive(input, ann::Metric::kL2, search(device, input, ann::Metric::kL2, 160 << 10));
    search(roomy, input, ann::Metric::kL2);
    many += device.tiles() > 2 * roomy.tiles() ? 1 : 0;
  }
  EXPECT_GE(many, 8);
}

TEST(ReferenceSearch, LooksOnceWhereBoundsTellTheNearestApart) {
  const auto input = knn_cases::make("", 3000, 11, 100, 10,
                                     [](Rng& rng, int64_t, int64_t) { return 10 + rng.normal(); });
  for (const ann::Metric metric : kMetrics) {
    SCOPED_TRACE(to_string(metric));
    HostReference device(Ties::kLast);
    const Neighbors found = search(device, input, metric);
    expect_naive(input, metric, found);
    EXPECT_EQ(device.pairs(), 3000 * 11);
    EXPECT_EQ(found.plan, "32 rows selected");
  }
}

/// 500 rows are the same, and nearest to one query of eight.
TEST(ReferenceSearch, LooksAgainOnlyForQueriesWhoseRowsMayBeIncomplete) {
  const auto input = knn_cases::make("", 2000, 8, 6, 10, [](Rng& rng, int64_t i, int64_t j) {
    const bool same = i % 4 == 1 && i < 2000;
    return same        ? static_cast<double>(20 + j)
           : i == 2003 ? 20.5 + static_cast<double>(j)
                       : rng.normal();
  });
  HostReference device(Ties::kLast);
  const Neighbors found = search(device, input, ann::Metric::kL2);
  expect_naive(input, ann::Metric::kL2, found);
  EXPECT_EQ(found.plan,
            "32 rows selected, 64 for 1 queries, 128 for 1 queries, 256 for 1 queries, 512 for 1 "
            "queries");
  EXPECT_EQ(device.pairs(), 2000 * (8 + 4));
}

TEST(ReferenceSearch, EndsWithAllRowsWhereNoBoundExcludesAny) {
  const auto input = knn_cases::make("", 700, 3, 4, 5, [](Rng&, int64_t, int64_t) { return 1.0; });
  HostReference device(Ties::kLast);
  const Neighbors found = search(device, input, ann::Metric::kL2);
  EXPECT_EQ(std::vector<int64_t>(found.ids.begin(), found.ids.begin() + 5),
            (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_NE(found.plan.find(", 700 for 3 queries"), std::string::npos) << found.plan;
}

TEST(ReferenceSearch, NamesTheLeastMemoryAndTheRowThatIsNotFinite) {
  auto input =
      knn_cases::make("", 5000, 3, 40, 5, [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  HostReference device(Ties::kFirst);
  try {
    search(device, input, ann::Metric::kL2, 1000);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    EXPECT_NE(std::string(error.what()).find("the least is about 1 MiB"), std::string::npos)
        << error.what();
  }
  input.base[40 * 17 + 3] = std::numeric_limits<float>::infinity();
  try {
    search(device, input, ann::Metric::kL2);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("base row 17 holds inf"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace crinn::gpu
