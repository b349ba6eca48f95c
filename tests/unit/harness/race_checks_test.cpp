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
  record.unseen.slow_downs = {1.1, 1.2, 1.05};
  for (int i = 0; i < 100; ++i) record.unseen.losses.push_back(i % 10 == 0 ? 0.2 : 0.0);
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

TEST(RaceChecks, ForgiveADisturbedGroup) {
  SideRecord candidate = side(1e-3);
  candidate.unseen.slow_downs = {1.2, 4.0, 1.1};
  EXPECT_FALSE(check_unseen(side(1e-3), candidate));
}

TEST(RaceChecks, SeeAnswersThatAreKeptForLonger) {
  SideRecord slower = side(1e-3), worse = side(1e-3);
  slower.unseen.slow_downs = {1.1, 3.0, 3.2};  // honest at one point of three
  for (double& loss : worse.unseen.losses) loss += 0.15;
  for (const SideRecord& candidate : {slower, worse}) {
    const auto failure = check_unseen(side(1e-3), candidate);
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->outcome, Outcome::kWrong);
    EXPECT_FALSE(check_unseen(candidate, candidate)) << "the queries are that hard";
  }
  SideRecord none = side(1e-3);
  none.unseen = {};
  EXPECT_FALSE(check_unseen(none, none)) << "nothing was kept back";
}

TEST(RaceChecks, AllowForTheChanceOfFewQueries) {
  SideRecord baseline = side(1e-3), candidate = side(1e-3);
  baseline.unseen.losses.assign(16, 0.0);
  candidate.unseen.losses.assign(16, 0.0);
  for (int i = 0; i < 4; ++i) candidate.unseen.losses[static_cast<std::size_t>(i)] = 0.5;
  EXPECT_FALSE(check_unseen(baseline, candidate)) << "a mean of .125 of four bad queries";
  candidate.unseen.slow_downs = {5.0};
  baseline.unseen.slow_downs = {1.0};
  EXPECT_FALSE(check_unseen(baseline, candidate)) << "one point is no evidence";
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
