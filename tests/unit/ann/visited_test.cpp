// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/visited.h"

#include <gtest/gtest.h>

#include <set>

#include "crinn/base/rng.h"

namespace crinn::ann {
namespace {

template <class Visited>
class AnyVisited : public testing::Test {};
using Sets =
    testing::Types<VisitedBitmap, VisitedEpochs<uint8_t>, VisitedEpochs<uint16_t>, VisitedHash>;
TYPED_TEST_SUITE(AnyVisited, Sets);

TYPED_TEST(AnyVisited, AgreesWithASetOverManyQueries) {
  Rng rng(1);
  for (const int64_t n : {1, 63, 64, 65, 5000, 100000}) {
    TypeParam visited(n);
    for (int query = 0; query < 300; ++query) {  // past the wrap of 8-bit epochs
      visited.reset();
      std::set<int32_t> truth;
      const uint64_t touches = query % 100 == 0 ? 6000 : rng.below(40);
      for (uint64_t i = 0; i < touches; ++i) {
        const auto id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(n)));
        visited.prefetch(id);
        ASSERT_EQ(visited.test(id), truth.contains(id)) << "n " << n;
        ASSERT_EQ(visited.test_and_set(id), !truth.insert(id).second) << "n " << n;
      }
    }
  }
}

TYPED_TEST(AnyVisited, AddsRowsLikeSingleNodes) {
  constexpr int32_t kNodes = 5000;
  Rng rng(8);
  TypeParam rows(kNodes), single(kNodes);
  std::vector<int32_t> row(40), fresh(40);
  for (int query = 0; query < 300; ++query) {
    rows.reset();
    single.reset();
    for (int expanded = 0; expanded < 20; ++expanded) {
      // Few distinct ones, so that many have been seen, some of them in this row.
      for (int32_t& id : row) id = static_cast<int32_t>(rng.below(query % 2 ? 60 : kNodes));
      const auto filled = static_cast<std::size_t>(rng.below(41));
      if (filled < row.size()) row[filled] = -1;  // what lies beyond does not count
      std::vector<int32_t> expected;
      for (std::size_t i = 0; i < filled; ++i) {
        if (!single.test_and_set(row[i])) expected.push_back(row[i]);
      }
      const int added = add_new(rows, row.data(), 40, fresh.data());
      ASSERT_EQ(std::vector<int32_t>(fresh.begin(), fresh.begin() + added), expected);
    }
    for (int32_t id = 0; id < kNodes; ++id) ASSERT_EQ(rows.test(id), single.test(id)) << id;
  }
}

TYPED_TEST(AnyVisited, AddsWhatIsNearAndNew) {
  constexpr int32_t kNodes = 1000;
  Rng rng(8);
  TypeParam rows(kNodes), single(kNodes);
  std::vector<int32_t> row(64);
  std::vector<float> estimates(64);
  std::vector<Candidate> fresh(64);
  for (int query = 0; query < 300; ++query) {
    rows.reset();
    single.reset();
    for (int expanded = 0; expanded < 20; ++expanded) {
      for (int32_t& id : row) id = static_cast<int32_t>(rng.below(query % 2 ? 60 : kNodes));
      for (float& estimate : estimates) estimate = static_cast<float>(rng.uniform());
      const auto count = static_cast<std::size_t>(rng.below(65));
      const float limit = expanded == 0 ? 2.0f : static_cast<float>(rng.uniform());
      std::vector<Candidate> expected;
      for (std::size_t i = 0; i < count; ++i) {
        if (estimates[i] < limit && !single.test_and_set(row[i])) {
          expected.push_back({estimates[i], row[i]});
        }
      }
      const int added =
          add_near(rows, row, estimates.data(), static_cast<int64_t>(count), limit, fresh.data());
      ASSERT_EQ(added, static_cast<int>(expected.size()));
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(fresh[i].id, expected[i].id);
        ASSERT_EQ(fresh[i].estimate, expected[i].estimate);
      }
    }
    for (int32_t id = 0; id < kNodes; ++id) ASSERT_EQ(rows.test(id), single.test(id)) << id;
  }
}

TYPED_TEST(AnyVisited, HoldsTheFirstAndTheLastNode) {
  TypeParam visited(1000);
  visited.reset();
  EXPECT_FALSE(visited.test_and_set(0));
  EXPECT_FALSE(visited.test_and_set(999));
  EXPECT_TRUE(visited.test_and_set(0));
  EXPECT_TRUE(visited.test_and_set(999));
}

}  // namespace
}  // namespace crinn::ann
