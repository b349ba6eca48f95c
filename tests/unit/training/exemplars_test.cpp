// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/exemplars.h"

#include <gtest/gtest.h>

#include <set>

namespace crinn::train {
namespace {

CandidateRow row(const std::string& completion, double reward) {
  CandidateRow r;
  r.completion = completion;
  r.reward = reward;
  r.outcome = harness::Outcome::kValid;
  return r;
}

TEST(Exemplars, AreFewerWhereThereAreFewer) {
  Rng rng(1);
  EXPECT_TRUE(choose_exemplars({}, {}, rng).empty());
  const std::vector<CandidateRow> one = {row("a", 0.1)};
  EXPECT_EQ(choose_exemplars(one, {}, rng), (std::vector<std::size_t>{0}));
  std::vector<CandidateRow> unusable = {row("", 1), row("b", 1)};
  unusable[1].outcome = harness::Outcome::kWrong;
  EXPECT_TRUE(choose_exemplars(unusable, {}, rng).empty());
}

TEST(Exemplars, ComeFromTwoBucketsWorstFirst) {
  std::vector<CandidateRow> rows;
  for (int i = 0; i < 20; ++i) {
    rows.push_back(row("low" + std::to_string(i), 0.0));
    rows.push_back(row("high" + std::to_string(i), 1.0));
  }
  Rng rng(2);
  for (int i = 0; i < 50; ++i) {
    const auto chosen = choose_exemplars(rows, {}, rng);
    ASSERT_EQ(chosen.size(), 2u);
    EXPECT_EQ(rows[chosen[0]].reward, 0.0);
    EXPECT_EQ(rows[chosen[1]].reward, 1.0);
  }
}

TEST(Exemplars, AreDistinctInOneBucket) {
  const std::vector<CandidateRow> rows = {row("a", 0.5), row("b", 0.5), row("a", 0.5)};
  Rng rng(3);
  for (int i = 0; i < 20; ++i) {
    const auto chosen = choose_exemplars(rows, {}, rng);
    ASSERT_EQ(chosen.size(), 2u);
    EXPECT_NE(rows[chosen[0]].completion, rows[chosen[1]].completion);
  }
}

TEST(Exemplars, TakeTheLastMeasurementOfACompletion) {
  const std::vector<CandidateRow> rows = {row("a", 2.0), row("a", 0.5), row("b", 1.0)};
  Rng rng(4);
  const auto chosen = choose_exemplars(rows, {}, rng);
  EXPECT_EQ(chosen, (std::vector<std::size_t>{1, 2}));
}

TEST(Exemplars, FollowTheSoftmaxOfTheirBuckets) {
  // Three buckets; with one exemplar the share of each is its softmax weight.
  const std::vector<CandidateRow> rows = {row("a", 0.0), row("b", 0.5), row("c", 1.0)};
  const ExemplarOptions options{1, 3, 0.5};
  Rng rng(5);
  std::vector<int> counts(3, 0);
  for (int i = 0; i < 20000; ++i) ++counts[choose_exemplars(rows, options, rng).at(0)];
  const double weights[] = {std::exp(-1.0), 1.0, std::exp(1.0)};
  const double total = weights[0] + weights[1] + weights[2];
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(counts[i] / 20000.0, weights[i] / total, 0.015);
}

TEST(Exemplars, SurviveATinyTemperature) {
  const std::vector<CandidateRow> rows = {row("a", -3.0), row("b", 0.0), row("c", 1.0)};
  const ExemplarOptions options{1, 8, 1e-6};
  Rng rng(6);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(choose_exemplars(rows, options, rng).at(0), 2u);
}

}  // namespace
}  // namespace crinn::train
