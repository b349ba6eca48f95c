// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/reward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "crinn/base/error.h"

namespace crinn::eval {
namespace {

using harness::Outcome;
using harness::Stage;

harness::RacePoint point(double recall, double qps) {
  harness::RacePoint p;
  p.recall = recall;
  p.seconds_per_query = 1 / qps;
  return p;
}

/// `instances` races in which the candidate is `gain` times as fast, with small alternating noise.
harness::Measurement race(double gain, int instances) {
  harness::Measurement m;
  m.outcome = Outcome::kValid;
  m.stage = Stage::kDone;
  for (int i = 0; i < instances; ++i) {
    const double noise = 1 + 0.001 * (i % 2 ? 1 : -1);
    harness::RaceInstance instance;
    for (const auto& [recall, qps] : {std::pair{0.8, 4000.0}, {0.9, 3000.0}, {0.96, 1000.0}}) {
      instance.baseline.push_back(point(recall, qps));
      instance.candidate.push_back(point(recall, qps * gain * noise));
    }
    m.instances.push_back(instance);
  }
  return m;
}

TEST(UpperEnvelope, DropsDominatedPointsAndSorts) {
  const std::vector<CurvePoint> points = {{0.9, 100}, {0.8, 90}, {0.95, 50}, {0.9, 80}, {0.7, 200}};
  const auto front = upper_envelope(points);
  ASSERT_EQ(front.size(), 3u);
  EXPECT_EQ(front[0].recall, 0.7);
  EXPECT_EQ(front[1].qps, 100);
  EXPECT_EQ(front[2].recall, 0.95);
  EXPECT_TRUE(upper_envelope({}).empty());
}

TEST(QpsAt, InterpolatesExtendsLeftAndIsZeroBeyondTheHighestRecall) {
  const std::vector<CurvePoint> front = {{0.88, 300}, {0.92, 100}};
  EXPECT_DOUBLE_EQ(qps_at(front, 0.5), 300);
  EXPECT_DOUBLE_EQ(qps_at(front, 0.88), 300);
  EXPECT_NEAR(qps_at(front, 0.90), 200, 1e-9);
  EXPECT_DOUBLE_EQ(qps_at(front, 0.92), 100);
  EXPECT_EQ(qps_at(front, 0.9200001), 0);
  EXPECT_EQ(qps_at({}, 0.9), 0);
}

TEST(Area, IsTheHandComputedTrapezoid) {
  const std::vector<CurvePoint> through = {{0.80, 400}, {0.90, 200}, {1.0, 100}};
  // .85: 300, .90: 200, .95: 150.
  EXPECT_NEAR(area(through, 0.85, 0.95), 0.05 * 250 + 0.05 * 175, 1e-9);
  // Extended to the left at 300, interpolated to 100 at .92, nothing beyond.
  const std::vector<CurvePoint> inner = {{0.88, 300}, {0.92, 100}};
  EXPECT_NEAR(area(inner, 0.85, 0.95), 0.03 * 300 + 0.04 * 200, 1e-9);
  const std::vector<CurvePoint> above = {{0.97, 70}}, below = {{0.84, 9000}};
  EXPECT_NEAR(area(above, 0.85, 0.95), 7, 1e-9);
  EXPECT_EQ(area(below, 0.85, 0.95), 0);
  EXPECT_EQ(area({}, 0.85, 0.95), 0);
}

TEST(MeanInterval, IsStudentsForFewInstances) {
  const Interval two = mean_interval(std::vector<double>{1.0, 3.0});
  EXPECT_DOUBLE_EQ(two.estimate, 2);
  EXPECT_NEAR(two.high - 2, 12.7062, 1e-3);  // sd / sqrt(2) is 1
  const Interval one = mean_interval(std::vector<double>{5.0});
  EXPECT_EQ(one.estimate, 5);
  EXPECT_FALSE(one.bounded());
  EXPECT_THROW(mean_interval({}), Error);
}

TEST(MeanInterval, OfEqualValuesIsAPoint) {
  for (const int n : {2, 7, 8, 40}) {
    const Interval i = mean_interval(std::vector<double>(static_cast<std::size_t>(n), 0.1));
    EXPECT_NEAR(i.low, 0.1, 1e-15);
    EXPECT_NEAR(i.high, 0.1, 1e-15);
  }
}

TEST(Assess, FindsTheGainThatWasPutIn) {
  const Assessment a = assess(race(1.25, 4));
  EXPECT_NEAR(a.auc_ratio.estimate, 1.25, 0.001);
  EXPECT_LT(a.auc_ratio.low, 1.25);
  EXPECT_GT(a.auc_ratio.high, 1.25);
  EXPECT_LT(a.auc_ratio.high - a.auc_ratio.low, 0.01);
  EXPECT_NEAR(a.reward, std::log(1.25), 0.001);
  EXPECT_NEAR(a.candidate_auc.estimate / a.baseline_auc.estimate, 1.25, 0.01);
  ASSERT_EQ(a.qps_ratio.size(), 2u);  // .99 and .999 are not reached
  EXPECT_EQ(a.qps_ratio[0].first, 0.90);
  EXPECT_NEAR(a.qps_ratio[1].second.estimate, 1.25, 0.001);
}

TEST(Assess, OneInstanceHasAnUnboundedInterval) {
  const Assessment a = assess(race(1.1, 1));
  EXPECT_FALSE(a.auc_ratio.bounded());
  EXPECT_EQ(a.auc_ratio.low, 0);
  EXPECT_NEAR(a.auc_ratio.estimate, 1.1, 0.01);
}

TEST(Assess, ClampsWhereOneSideMissesTheBand) {
  harness::Measurement m = race(1, 2);
  for (auto& instance : m.instances) instance.baseline = {point(0.8, 1000)};
  EXPECT_NEAR(assess(m).auc_ratio.estimate, kLargestRatio, 1e-6);
  std::swap(m.instances[0].baseline, m.instances[0].candidate);
  std::swap(m.instances[1].baseline, m.instances[1].candidate);
  EXPECT_EQ(assess(m).reward, kValidFloor);
  for (auto& instance : m.instances) instance.baseline = {};
  EXPECT_NEAR(assess(m).auc_ratio.estimate, 1, 1e-12);
}

TEST(Assess, RefusesAValidMeasurementWithoutARaceAndABadBand) {
  harness::Measurement m;
  m.outcome = Outcome::kValid;
  EXPECT_THROW(assess(m), Error);
  EXPECT_THROW(assess(race(1, 2), 0.95, 0.85), Error);
}

TEST(InvalidReward, GrowsWithHowFarACandidateCame) {
  double last = -7;
  for (int outcome = 0; outcome < static_cast<int>(Outcome::kValid); ++outcome) {
    for (int stage = 0; stage <= static_cast<int>(Stage::kDone); ++stage) {
      const double reward =
          invalid_reward(static_cast<Outcome>(outcome), static_cast<Stage>(stage));
      EXPECT_GT(reward, last);
      last = reward;
    }
  }
  EXPECT_EQ(invalid_reward(Outcome::kNoCode, Stage::kExtract), -6);
  EXPECT_NEAR(last, kInvalidCeiling, 1e-12);
  EXPECT_LT(last, kValidFloor);
}

}  // namespace
}  // namespace crinn::eval
