// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "crinn/base/error.h"
#include "crinn/train/policy.h"

namespace crinn::train {
namespace {

using Values = std::vector<double>;

void expect_near(const Values& found, const Values& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-9) << i;
}

TEST(GroupAdvantages, AreZScoresInTheGroup) {
  const double deviation = std::sqrt(2.0 / 2.0);  // of 1, 2, 3, as a sample
  expect_near(group_advantages(Values{1, 2, 3}, Advantage::kGroup),
              {-1 / (deviation + 1e-4), 0, 1 / (deviation + 1e-4)});
}

TEST(GroupAdvantages, LeaveOneOutComparesWithTheMeanOfTheOthers) {
  expect_near(group_advantages(Values{1, 2, 6}, Advantage::kLeaveOneOut), {1 - 4., 2 - 3.5, 4.5});
}

TEST(GroupAdvantages, RanksAreSpreadEvenlyAndSharedByTies) {
  expect_near(group_advantages(Values{5, 1, 1000, 5, 2}, Advantage::kRank),
              {0.25, -1, 1, 0.25, -0.5});
}

TEST(GroupAdvantages, NoneKeepsTheRewards) {
  expect_near(group_advantages(Values{5, 5}, Advantage::kNone), {5, 5});
}

// A constant group's standard deviation in floating point is rounding, not zero: dividing by it
// would turn noise into large advantages.
TEST(GroupAdvantages, OfAConstantGroupAreZero) {
  for (const Advantage kind : {Advantage::kGroup, Advantage::kLeaveOneOut, Advantage::kRank}) {
    for (const double reward : {0.0, 0.1, -1234.567, 1e12}) {
      expect_near(group_advantages(Values(7, reward), kind), Values(7, 0.0));
    }
    expect_near(group_advantages(Values{0.1 + 0.2, 0.3, 0.3}, kind), {0, 0, 0});
    expect_near(group_advantages(Values{3.0}, kind), {0});
    EXPECT_TRUE(group_advantages({}, kind).empty());
  }
}

TEST(GroupAdvantages, RefuseARewardThatIsNotFinite) {
  EXPECT_THROW(group_advantages(Values{1, std::nan("")}, Advantage::kGroup), Error);
  EXPECT_THROW(
      group_advantages(Values{1, std::numeric_limits<double>::infinity()}, Advantage::kRank),
      Error);
}

}  // namespace
}  // namespace crinn::train
