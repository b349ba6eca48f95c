// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/exemplars.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

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
  const ExemplarOptions options{.count = 1, .buckets = 3, .tau = 0.5};
  Rng rng(5);
  std::vector<int> counts(3, 0);
  for (int i = 0; i < 20000; ++i) ++counts[choose_exemplars(rows, options, rng).at(0)];
  const double weights[] = {std::exp(-1.0), 1.0, std::exp(1.0)};
  const double total = weights[0] + weights[1] + weights[2];
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(counts[i] / 20000.0, weights[i] / total, 0.015);
}

TEST(Exemplars, OfANicheAreAlikeInTheirFirstChoices) {
  std::vector<CandidateRow> rows;
  for (int i = 0; i < 30; ++i) {
    rows.push_back(row("plan=a layout=x n=" + std::to_string(i), 0.5 + 0.01 * i));
  }
  rows.push_back(row("plan=a layout=y n=1", 0.1));
  rows.push_back(row("plan=a layout=y n=2", 0.3));
  rows.push_back(row("plan=b layout=x n=1", 0.2));
  rows.push_back(row("plan=c layout=x n=1", -2.0));  // hopeless
  ExemplarOptions options;
  options.niche_share = 1;
  Rng rng(7);
  std::map<std::string, int> better;
  for (int i = 0; i < 3000; ++i) {
    const auto chosen = choose_exemplars(rows, options, rng);
    ASSERT_EQ(chosen.size(), 2u);
    EXPECT_LT(rows[chosen[0]].reward, rows[chosen[1]].reward);
    const std::string niche(first_choices(rows[chosen[1]].completion, 2));
    ++better[niche];
    // One that is alone is the better one beside something worse.
    if (niche != "plan=b layout=x") {
      EXPECT_EQ(first_choices(rows[chosen[0]].completion, 2), niche);
    }
  }
  ASSERT_EQ(better.size(), 3u);
  for (const auto& [niche, count] : better) EXPECT_NEAR(count, 1000, 120) << niche;
}

TEST(Exemplars, OfANicheAreFewerWhereNothingIsWorse) {
  const std::vector<CandidateRow> rows = {row("plan=a", 0.5)};
  ExemplarOptions options;
  options.niche_share = 1;
  Rng rng(8);
  EXPECT_EQ(choose_exemplars(rows, options, rng), (std::vector<std::size_t>{0}));
}

TEST(Exemplars, FirstChoicesAreWholeWords) {
  EXPECT_EQ(first_choices("a=1 b=2 c=3", 1), "a=1");
  EXPECT_EQ(first_choices("a=1 b=2 c=3", 2), "a=1 b=2");
  EXPECT_EQ(first_choices("a=1 b=2 c=3", 5), "a=1 b=2 c=3");
  EXPECT_EQ(first_choices("a=1", 0), "");
}

TEST(Exemplars, SurviveATinyTemperature) {
  const std::vector<CandidateRow> rows = {row("a", -3.0), row("b", 0.0), row("c", 1.0)};
  const ExemplarOptions options{.count = 1, .tau = 1e-6};
  Rng rng(6);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(choose_exemplars(rows, options, rng).at(0), 2u);
}

}  // namespace
}  // namespace crinn::train
