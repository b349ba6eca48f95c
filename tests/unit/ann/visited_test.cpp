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
