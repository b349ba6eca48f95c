// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "crinn/base/rng.h"
#include "crinn/eval/reward.h"

namespace crinn::eval {
namespace {

constexpr double kLow = 0.85, kHigh = 0.95;

std::vector<CurvePoint> random_points(Rng& rng) {
  std::vector<CurvePoint> points(rng.below(30));
  for (CurvePoint& point : points) {
    // Coarse recalls and speeds: ties and points on the band's edges must occur.
    const double qps = std::exp(8 * rng.uniform());
    point = {0.70 + 0.01 * static_cast<double>(rng.below(31)),
             rng.below(2) ? qps : std::ceil(qps / 50)};
  }
  return points;
}

/// The definition itself, summed over a fine grid.
double area_by_midpoints(const std::vector<CurvePoint>& front) {
  constexpr int kCells = 200000;
  double sum = 0;
  for (int i = 0; i < kCells; ++i) {
    sum += qps_at(front, kLow + (kHigh - kLow) * (i + 0.5) / kCells);
  }
  return sum * (kHigh - kLow) / kCells;
}

TEST(EnvelopeProperty, IsMonotoneAndNothingDominatesIt) {
  Rng rng(1);
  for (int round = 0; round < 2000; ++round) {
    const auto points = random_points(rng);
    const auto front = upper_envelope(points);
    EXPECT_EQ(front.empty(), points.empty());
    for (std::size_t i = 1; i < front.size(); ++i) {
      EXPECT_LT(front[i - 1].recall, front[i].recall);
      EXPECT_GT(front[i - 1].qps, front[i].qps);
    }
    for (const CurvePoint& point : points) {
      bool covered = false;
      for (const CurvePoint& best : front) {
        covered = covered || (best.recall >= point.recall && best.qps >= point.qps);
        EXPECT_FALSE(point.recall >= best.recall && point.qps > best.qps);
      }
      EXPECT_TRUE(covered);
    }
  }
}

TEST(AreaProperty, IgnoresOrderAndDominatedPoints) {
  Rng rng(2);
  for (int round = 0; round < 2000; ++round) {
    auto points = random_points(rng);
    const double expected = area(upper_envelope(points), kLow, kHigh);
    EXPECT_TRUE(std::isfinite(expected));
    EXPECT_GE(expected, 0);
    const std::size_t n = points.size();
    for (std::size_t i = 0; i < n; ++i) {
      const CurvePoint p = points[i];
      points.push_back({p.recall - 0.2 * rng.uniform(), p.qps * rng.uniform()});
    }
    rng.shuffle(points);
    EXPECT_DOUBLE_EQ(area(upper_envelope(points), kLow, kHigh), expected);
  }
}

TEST(AreaProperty, ScalesWithSpeed) {
  Rng rng(3);
  for (int round = 0; round < 2000; ++round) {
    auto points = random_points(rng);
    const double before = area(upper_envelope(points), kLow, kHigh);
    const double c = std::exp(4 * rng.uniform() - 2);
    for (CurvePoint& point : points) point.qps *= c;
    EXPECT_NEAR(area(upper_envelope(points), kLow, kHigh), c * before, 1e-9 * c * before);
  }
}

TEST(AreaProperty, NeverFallsWhenAPointOfTheFrontGetsFaster) {
  Rng rng(4);
  for (int round = 0; round < 2000; ++round) {
    auto points = random_points(rng);
    if (points.empty()) continue;
    // Linear interpolation between Pareto points is not monotone in added points in general (a new
    // point may lie below the chord), hence: raising a point of the front never lowers the area.
    auto front = upper_envelope(points);
    const double before = area(front, kLow, kHigh);
    front[rng.below(front.size())].qps *= 1 + rng.uniform();
    EXPECT_GE(area(upper_envelope(front), kLow, kHigh), before * (1 - 1e-12));
  }
}

TEST(AreaProperty, EqualsTheIntegralOfTheInterpolation) {
  Rng rng(5);
  for (int round = 0; round < 40; ++round) {
    const auto front = upper_envelope(random_points(rng));
    const double expected = area_by_midpoints(front);
    EXPECT_NEAR(area(front, kLow, kHigh), expected, 1e-3 * expected + 1e-6);
  }
}

harness::RacePoint race_point(const CurvePoint& point) {
  harness::RacePoint p;
  p.recall = point.recall;
  p.seconds_per_query = 1 / point.qps;
  return p;
}

TEST(AssessProperty, IdenticalCurvesHaveRatioOne) {
  Rng rng(6);
  for (int round = 0; round < 300; ++round) {
    harness::Measurement m;
    m.outcome = harness::Outcome::kValid;
    const uint64_t instances = 1 + rng.below(12);
    for (uint64_t i = 0; i < instances; ++i) {
      harness::RaceInstance instance;
      for (const auto& point : random_points(rng)) instance.baseline.push_back(race_point(point));
      instance.candidate = instance.baseline;
      m.instances.push_back(instance);
    }
    const Assessment a = assess(m);
    EXPECT_DOUBLE_EQ(a.auc_ratio.estimate, 1);
    EXPECT_DOUBLE_EQ(a.reward, 0);
    for (const auto& [recall, ratio] : a.qps_ratio) EXPECT_DOUBLE_EQ(ratio.estimate, 1) << recall;
  }
}

TEST(AssessProperty, NeverNaNAndEveryInvalidBelowEveryValid) {
  Rng rng(7);
  const double odd[] = {0, -1, std::nan(""), INFINITY, 1e-320, 1e300, 0.5, 1e-5};
  for (int round = 0; round < 3000; ++round) {
    harness::Measurement m;
    m.outcome = static_cast<harness::Outcome>(rng.below(9));
    m.stage = static_cast<harness::Stage>(rng.below(8));
    const uint64_t instances = (m.valid() ? 1 : 0) + rng.below(10);
    for (uint64_t i = 0; i < instances; ++i) {
      harness::RaceInstance instance;
      for (auto* side : {&instance.baseline, &instance.candidate}) {
        for (uint64_t j = rng.below(6); j > 0; --j) {
          harness::RacePoint p;
          p.recall = rng.below(4) ? rng.uniform() : odd[rng.below(8)];
          p.seconds_per_query = rng.below(4) ? std::exp(-9 * rng.uniform()) : odd[rng.below(8)];
          side->push_back(p);
        }
      }
      m.instances.push_back(instance);
    }
    const Assessment a = assess(m);
    for (const Interval& i : {a.auc_ratio, a.baseline_auc, a.candidate_auc}) {
      EXPECT_FALSE(std::isnan(i.estimate) || std::isnan(i.low) || std::isnan(i.high));
      EXPECT_LE(i.low, i.estimate * (1 + 1e-12));
      EXPECT_GE(i.high, i.estimate * (1 - 1e-12));
    }
    EXPECT_TRUE(std::isfinite(a.reward));
    if (m.valid()) {
      EXPECT_GE(a.reward, kValidFloor);
    } else {
      EXPECT_LE(a.reward, kInvalidCeiling + 1e-12);
    }
  }
}

/// How often the interval of n normal values holds their true mean.
double coverage(int n, Rng& rng) {
  constexpr int kRounds = 2000;
  int held = 0;
  std::vector<double> values(static_cast<std::size_t>(n));
  for (int round = 0; round < kRounds; ++round) {
    for (double& value : values) value = 0.3 + 0.01 * rng.normal();
    const Interval i = mean_interval(values, static_cast<uint64_t>(round));
    held += i.low <= 0.3 && 0.3 <= i.high;
  }
  return static_cast<double>(held) / kRounds;
}

TEST(IntervalProperty, CoversTheTruthAsOftenAsItClaims) {
  Rng rng(8);
  for (const int n : {2, 3, 4, 6, 8, 12}) {
    // Three standard errors of 2000 rounds, and what the bootstrap lacks at n = 8.
    EXPECT_NEAR(coverage(n, rng), 0.95, n < 8 ? 0.015 : 0.025) << n;
  }
}

}  // namespace
}  // namespace crinn::eval
