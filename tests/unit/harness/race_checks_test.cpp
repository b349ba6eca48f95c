// SPDX-License-Identifier: Apache-2.0
#include "race_checks.h"

#include <gtest/gtest.h>

namespace crinn::harness {
namespace {

/// One point of 10 slices of 100 queries at `seconds` a query, and as many queries untimed.
SideRecord side(double seconds) {
  SideRecord record;
  PointState point;
  for (int i = 0; i < 10; ++i) {
    Slice slice;
    slice.queries.resize(100);
    slice.result.cpu_seconds = 100 * seconds;
    point.slices.push_back(slice);
  }
  point.queries = 2000;
  point.cpu_seconds = 2000 * seconds;
  record.points.push_back(point);
  record.repeat_ratios = {1.0, 1.1, 1.2};
  record.unseen = {100 * seconds * 1.1, 100 * seconds, 90, 92, 100};
  return record;
}

TEST(RaceChecks, BelieveAnHonestCandidateOfAnySpeed) {
  for (const double speed : {0.1, 1.0, 10.0}) {
    EXPECT_FALSE(check_repeats(side(1e-3), side(1e-3 * speed)));
    EXPECT_FALSE(check_unseen(side(1e-3), side(1e-3 * speed)));
    EXPECT_FALSE(check_hidden_work(side(1e-3), side(1e-3 * speed)));
  }
}

TEST(RaceChecks, SeeAnswersThatAreKeptForABatch) {
  SideRecord candidate = side(1e-3);
  candidate.repeat_ratios = {2.5, 2.4, 2.6};
  const auto failure = check_repeats(side(1e-3), candidate);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->outcome, Outcome::kWrong);
  EXPECT_FALSE(check_repeats(candidate, candidate)) << "the baseline's caches help as much";
}

TEST(RaceChecks, SeeAnswersThatAreKeptForLonger) {
  SideRecord slower = side(1e-3), worse = side(1e-3);
  slower.unseen.seconds = 1.6 * slower.unseen.expected_seconds;
  worse.unseen.recall = worse.unseen.expected_recall - 15;
  for (const SideRecord& candidate : {slower, worse}) {
    const auto failure = check_unseen(side(1e-3), candidate);
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->outcome, Outcome::kWrong);
    EXPECT_FALSE(check_unseen(candidate, candidate)) << "the queries are that hard";
  }
  SideRecord none = side(1e-3);
  none.unseen = {};
  EXPECT_FALSE(check_unseen(none, slower)) << "nothing was kept back";
}

TEST(RaceChecks, ChargeWorkBetweenTheSlices) {
  SideRecord candidate = side(1e-3);
  candidate.points[0].cpu_seconds *= 1.7;
  const auto failure = check_hidden_work(side(1e-3), candidate);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->outcome, Outcome::kOverCap);
}

}  // namespace
}  // namespace crinn::harness
