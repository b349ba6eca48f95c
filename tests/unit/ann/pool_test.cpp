// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/pool.h"

#include <gtest/gtest.h>

#include <vector>

#include "crinn/ann/toolbox/lazy_pool.h"
#include "crinn/base/rng.h"

namespace crinn::ann {
namespace {

std::vector<int32_t> ids(const std::vector<Candidate>& candidates) {
  std::vector<int32_t> result;
  for (const Candidate& candidate : candidates) result.push_back(candidate.id);
  return result;
}

template <class Pool>
class AnyPool : public testing::Test {};
using Pools = testing::Types<LinearPool, HeapPool, LazyPool>;
TYPED_TEST_SUITE(AnyPool, Pools);

TYPED_TEST(AnyPool, KeepsTheNearestOfAllThatIsInserted) {
  Rng rng(7);
  TypeParam pool;
  for (const int ef : {1, 2, 3, 10, 16, 17, 64, 200}) {
    for (const int count : {0, 1, ef - 1, ef, ef + 1, 8 * ef + 2}) {
      pool.reset(ef);
      std::vector<Candidate> all;
      for (int32_t id = 0; id < count; ++id) {
        all.push_back({static_cast<float>(rng.normal()), id});
        pool.insert(all.back().estimate, id);
        if (id % 3 == 0 && pool.has_next()) pool.pop_next();
      }
      std::sort(all.begin(), all.end(), nearer);
      all.resize(static_cast<std::size_t>(std::min(ef, count)));
      std::vector<Candidate> kept;
      pool.drain(kept);
      ASSERT_EQ(ids(kept), ids(all)) << "ef " << ef << ", count " << count;
      for (std::size_t i = 0; i < kept.size(); ++i) {
        EXPECT_EQ(kept[i].estimate, all[i].estimate);
      }
    }
  }
}

TYPED_TEST(AnyPool, PopsEveryKeptOneOnceAndTheNearestFirst) {
  Rng rng(3);
  TypeParam pool;
  pool.reset(20);
  std::vector<float> estimates;
  for (int32_t id = 0; id < 20; ++id) {
    estimates.push_back(static_cast<float>(rng.normal()));
    ASSERT_TRUE(pool.insert(estimates.back(), id));
  }
  std::vector<bool> popped(20, false);
  float last = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(pool.has_next());
    const Candidate next = pool.pop_next();
    EXPECT_GE(next.estimate, last);
    EXPECT_EQ(next.estimate, estimates[static_cast<std::size_t>(next.id)]);
    EXPECT_FALSE(popped[static_cast<std::size_t>(next.id)]);
    popped[static_cast<std::size_t>(next.id)] = true;
    last = next.estimate;
  }
  EXPECT_FALSE(pool.has_next());
}

TYPED_TEST(AnyPool, ReturnsToANearerOneInsertedAfterAPop) {
  TypeParam pool;
  pool.reset(4);
  pool.insert(2.0f, 1);
  pool.insert(3.0f, 2);
  EXPECT_TRUE(pool.has_next());
  EXPECT_EQ(pool.pop_next().id, 1);
  pool.insert(1.0f, 3);
  EXPECT_TRUE(pool.has_next());
  EXPECT_EQ(pool.pop_next().id, 3);
  EXPECT_TRUE(pool.has_next());
  EXPECT_EQ(pool.pop_next().id, 2);
  EXPECT_FALSE(pool.has_next());
}

TYPED_TEST(AnyPool, OrdersNegativeEstimatesOfInnerProducts) {
  TypeParam pool;
  pool.reset(3);
  for (const float estimate : {-1.0f, 0.5f, -7.0f, -0.0f, -3.0f}) {
    pool.insert(estimate, static_cast<int32_t>(estimate * -10) + 100);
  }
  std::vector<Candidate> kept;
  pool.drain(kept);
  EXPECT_EQ(ids(kept), (std::vector<int32_t>{170, 130, 110}));
}

TYPED_TEST(AnyPool, KeepsAsManyAsAskedForAmongTies) {
  TypeParam pool;
  for (const int ef : {1, 7, 40}) {
    pool.reset(ef);
    for (int32_t id = 0; id < 300; ++id) pool.insert(static_cast<float>(300 - id) / 100, id);
    for (int32_t id = 300; id < 600; ++id) pool.insert(0.001f, id);
    std::vector<Candidate> kept;
    pool.drain(kept);
    ASSERT_EQ(kept.size(), static_cast<std::size_t>(ef));
    EXPECT_EQ(pool.size(), ef);
    for (const Candidate& candidate : kept) EXPECT_EQ(candidate.estimate, 0.001f);
  }
}

TYPED_TEST(AnyPool, RefusesNotANumber) {
  TypeParam pool;
  pool.reset(3);
  EXPECT_FALSE(pool.insert(std::numeric_limits<float>::quiet_NaN(), 1));
  EXPECT_FALSE(pool.has_next());
}

TYPED_TEST(AnyPool, IsEmptyAfterReset) {
  TypeParam pool;
  pool.reset(40);
  for (int32_t id = 0; id < 100; ++id) pool.insert(static_cast<float>(id), id);
  pool.reset(2);
  EXPECT_FALSE(pool.has_next());
  std::vector<Candidate> kept;
  pool.drain(kept);
  EXPECT_TRUE(kept.empty());
}

TEST(LazyPool, TakesABlockLikeSingleInserts) {
  Rng rng(5);
  LazyPool blocks, singles;
  for (const int ef : {1, 5, 16, 33, 100}) {
    blocks.reset(ef);
    singles.reset(ef);
    for (int32_t block = 0; block < 60; ++block) {
      float estimates[16];
      int32_t block_ids[16];
      const auto mask = static_cast<uint32_t>(rng.below(65536));
      for (int32_t i = 0; i < 16; ++i) {
        estimates[i] = static_cast<float>(rng.normal());
        block_ids[i] = block * 16 + i;
        if (mask >> i & 1) singles.insert(estimates[i], block_ids[i]);
      }
      blocks.insert_block(estimates, block_ids, mask);
    }
    std::vector<Candidate> a, b;
    blocks.drain(a);
    singles.drain(b);
    EXPECT_EQ(ids(a), ids(b)) << "ef " << ef;
  }
}

TEST(SortableKey, KeepsOrderAndValue) {
  const float values[] = {
      -std::numeric_limits<float>::infinity(), -3e38f, -1.0f, -1e-40f, 0.0f, 1e-40f, 1.0f, 3e38f,
      std::numeric_limits<float>::infinity()};
  for (std::size_t i = 0; i < std::size(values); ++i) {
    EXPECT_EQ(from_sortable_key(sortable_key(values[i])), values[i]);
    if (i == 0) continue;
    EXPECT_LT(sortable_key(values[i - 1]), sortable_key(values[i]));
  }
}

}  // namespace
}  // namespace crinn::ann
