// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/nn_descent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/exact_lists.h"
#include "crinn/ann/toolbox/select.h"

namespace crinn::ann {
namespace {

std::vector<float> random_rows(int64_t n, int64_t d) {
  std::vector<float> rows(static_cast<std::size_t>(n * d));
  Rng rng(static_cast<uint64_t>(n));
  for (float& x : rows) x = static_cast<float>(rng.normal());
  return rows;
}

TEST(NnDescent, FindsNearlyAllNearestNeighbors) {
  const int64_t n = 2000, d = 8;
  const std::vector<float> rows = random_rows(n, d);
  const auto between = [&](int32_t a, int32_t b) {
    return l2(rows.data() + a * d, rows.data() + b * d, d);
  };
  const NnDescent lists(n, {.k = 20, .sample = 10, .iterations = 10, .seed = 1}, between);
  int found = 0;
  for (int32_t i = 0; i < 200; ++i) {
    std::vector<float> all;
    for (int32_t j = 0; j < n; ++j) {
      if (j != i) all.push_back(between(i, j));
    }
    std::nth_element(all.begin(), all.begin() + 9, all.end());
    for (const Candidate& c : lists.list(i).first(10)) found += c.estimate <= all[9];
  }
  EXPECT_GT(found, 1960);
}

TEST(NnDescent, ListsHoldDifferentNodesNearestFirstAtAnySize) {
  for (const int64_t n : {1, 2, 3, 7, 9, 10, 60}) {
    const std::vector<float> rows = random_rows(n, 3);
    const auto between = [&](int32_t a, int32_t b) {
      return l2(rows.data() + a * 3, rows.data() + b * 3, 3);
    };
    const NnDescent lists(n, {.k = 8, .sample = 4, .iterations = 3, .seed = 2}, between);
    for (int32_t i = 0; i < n; ++i) {
      std::set<int32_t> ids;
      float last = -1;
      for (const Candidate& c : lists.list(i)) {
        ASSERT_EQ(c.estimate, between(i, c.id));
        ASSERT_GE(c.estimate, last);
        last = c.estimate;
        ids.insert(c.id);
      }
      ASSERT_EQ(static_cast<int64_t>(ids.size()), std::min<int64_t>(8, n - 1)) << "n " << n;
      ASSERT_FALSE(ids.contains(i));
    }
  }
}

TEST(NnDescent, ListsDoNotDependOnTheNumberOfThreads) {
  const int64_t n = 1000, d = 5;
  const std::vector<float> rows = random_rows(n, d);
  const auto between = [&](int32_t a, int32_t b) {
    return l2(rows.data() + a * d, rows.data() + b * d, d);
  };
  const NnDescent one(n, {.k = 12, .sample = 6, .iterations = 4, .seed = 3, .threads = 1}, between);
  const NnDescent four(n, {.k = 12, .sample = 6, .iterations = 4, .seed = 3, .threads = 4},
                       between);
  for (int64_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < 12; ++j) ASSERT_EQ(one.list(i)[j].id, four.list(i)[j].id);
  }
}

TEST(NeighborLists, SayHowFarTheyAre) {
  const int64_t n = 1000;
  const std::vector<float> rows = random_rows(n, 3);
  const auto between = [&](int32_t a, int32_t b) {
    return l2(rows.data() + a * 3, rows.data() + b * 3, 3);
  };
  std::vector<int64_t> done;
  int64_t total = 0;
  const BuildProgress progress = [&](int64_t at, int64_t of) {
    done.push_back(at);
    total = of;
  };
  const NnDescent rounds(n, {.k = 8, .iterations = 2, .progress = &progress}, between);
  EXPECT_EQ(done, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(total, 2);
  done.clear();
  const ExactLists exact(n, 8, 2, between, &progress);  // four tiles: three rounds
  EXPECT_EQ(done, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(total, 3);
  const BuildProgress nobody;
  EXPECT_NO_THROW(NnDescent(n, {.k = 8, .iterations = 1, .progress = &nobody}, between));
  EXPECT_NO_THROW(ExactLists(n, 8, 2, between, &nobody));
}

TEST(ExactLists, AreThoseOfASortAtAnySizeAndNumberOfThreads) {
  for (const int64_t n : {1, 2, 3, 9, 255, 256, 257, 511, 600, 1025}) {
    std::vector<float> rows = random_rows(n, 3);
    for (int64_t i = 0; i + 7 < n; i += 5) {  // duplicates: ties go by id
      std::copy_n(rows.data() + i * 3, 3, rows.data() + (i + 7) * 3);
    }
    const auto between = [&](int32_t a, int32_t b) {
      EXPECT_LT(a, b);
      return l2(rows.data() + a * 3, rows.data() + b * 3, 3);
    };
    for (const int threads : {1, 3}) {
      const ExactLists lists(n, 12, threads, between);
      for (int64_t i = 0; i<n; i += n> 300 ? 37 : 1) {
        std::vector<Candidate> all;
        for (int64_t j = 0; j < n; ++j) {
          const float apart =
              l2(rows.data() + std::min(i, j) * 3, rows.data() + std::max(i, j) * 3, 3);
          if (j != i) all.push_back({apart, static_cast<int32_t>(j)});
        }
        std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
          return a.estimate < b.estimate || (a.estimate == b.estimate && a.id < b.id);
        });
        ASSERT_EQ(static_cast<int64_t>(lists.list(i).size()), std::min<int64_t>(12, n - 1));
        for (std::size_t j = 0; j < lists.list(i).size(); ++j) {
          ASSERT_EQ(lists.list(i)[j].id, all[j].id) << "n " << n << " node " << i;
          ASSERT_EQ(lists.list(i)[j].estimate, all[j].estimate);
        }
      }
    }
  }
}

TEST(Below16, AgreesWithComparisons) {
  Rng rng(4);
  const float infinity = std::numeric_limits<float>::infinity();
  for (int round = 0; round < 200; ++round) {
    float values[17];
    for (float& x : values) x = static_cast<float>(rng.normal());
    values[rng.below(17)] = infinity;
    values[rng.below(17)] = std::nanf("");
    values[rng.below(17)] = 0.25f;
    for (const float limit : {0.25f, -1.0f, infinity, -infinity}) {
      uint32_t expected = 0;
      for (int i = 0; i < 16; ++i) expected |= static_cast<uint32_t>(values[i + 1] < limit) << i;
      ASSERT_EQ(below16(values + 1, limit), expected);
      for (int count = 0; count <= 20; ++count) {
        const uint32_t wanted = count < 16 ? (1u << count) - 1 : 0xFFFF;
        ASSERT_EQ(below16(values + 1, limit, count), expected & wanted);
      }
    }
  }
}

}  // namespace
}  // namespace crinn::ann
