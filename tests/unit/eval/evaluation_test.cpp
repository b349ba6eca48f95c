// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/evaluation.h"

#include <gtest/gtest.h>

#include "sample_evaluation.h"

namespace crinn::eval {
namespace {

TEST(Summarise, AveragesInstancesByEf) {
  const auto system = summarise(sample_race(2), Side::kCandidate, "c", 0.85, 0.95);
  ASSERT_EQ(system.points.size(), 5u);
  EXPECT_EQ(system.points[0].ef, 10);
  EXPECT_NEAR(system.points[0].recall, 0.8, 1e-12);
  EXPECT_NEAR(system.points[0].qps, 200000 * std::cbrt(1.002 * 1.004), 1e-3);
  EXPECT_EQ(system.points[4].p99_us, 480);
  EXPECT_EQ(system.points[4].distances_per_query, 3200);
  EXPECT_EQ(system.build_seconds, 3.5);
  EXPECT_NEAR(system.auc_ratio.estimate, 2, 0.01);
  ASSERT_EQ(system.qps.size(), 4u);
  EXPECT_NEAR(system.qps[1].second.estimate, 50000 * std::cbrt(1.002 * 1.004), 1e-3);  // .95
}

TEST(Summarise, TheBaselinesSideIsValidWithRatioOneWhateverTheCandidateDid) {
  harness::Measurement m = sample_race(2);
  m.outcome = harness::Outcome::kOverCap;
  m.evidence = "memory";
  const auto system = summarise(m, Side::kBaseline, "baseline", 0.85, 0.95);
  EXPECT_TRUE(system.verdict.valid());
  EXPECT_TRUE(system.verdict.evidence.empty());
  EXPECT_EQ(system.auc_ratio.estimate, 1);
  EXPECT_EQ(system.index_bytes, 4 << 20);
  EXPECT_NEAR(system.points[0].qps, 100000, 1e-6);
}

TEST(Summarise, KeepsAnswersOfTheFirstInstanceOnly) {
  harness::Measurement m = sample_race(1);
  for (auto& instance : m.instances) {
    for (auto& point : instance.candidate) point.ids = {1, 2, 3};
  }
  EXPECT_EQ(summarise(m, Side::kCandidate, "c", 0.85, 0.95).answers.size(), 5u);
  EXPECT_TRUE(summarise(m, Side::kBaseline, "b", 0.85, 0.95).answers.empty());
}

TEST(VerdictLine, SaysRatioAndIntervalOrTheReason) {
  const Evaluation e = sample_evaluation();
  EXPECT_EQ(verdict_line(e.systems[1]).substr(0, 26), "search=a.h: valid, 1.252x ");
  EXPECT_EQ(verdict_line(e.systems[2]),
            "search=broken.h: does not compile (stage syntax): a.h:1: error: <x>");
}

TEST(FormatRatio, ShowsAsManyDigitsAsTheIntervalEarns) {
  EXPECT_EQ(format_ratio({1.31, 1.27, 1.35}), "1.31x [1.27, 1.35]");
  EXPECT_EQ(format_ratio({1.004, 1.001, 1.007}), "1.004x [1.001, 1.007]");
  EXPECT_EQ(format_ratio({1.5, 0, INFINITY}), "1.5x (one run: no interval)");
  EXPECT_EQ(format_ratio({1, 1, 1}), "1x");
}

}  // namespace
}  // namespace crinn::eval
