// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "crinn/base/error.h"
#include "crinn/train/policy.h"
#include "toy_policy.h"

namespace crinn::train {
namespace {

using toy::AnyLength;
using toy::sampled_trajectories;

TEST(PolicySample, IsDeterministicForASeed) {
  const Policy a(toy::config(), 1);
  const Policy b(toy::config(), 1);
  const auto first = sampled_trajectories(a, 6, 7);
  const auto second = sampled_trajectories(b, 6, 7);
  const auto other = sampled_trajectories(a, 6, 8);
  bool differs = false;
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].completion.tokens, second[i].completion.tokens);
    EXPECT_EQ(first[i].completion.log_probs, second[i].completion.log_probs);
    differs |= first[i].completion.tokens != other[i].completion.tokens;
  }
  EXPECT_TRUE(differs);
}

TEST(PolicySample, DoesNotDependOnWhatElseIsInTheBatch) {
  const Policy policy(toy::config(), 1);
  const auto prompts = toy::prompts_of_mixed_lengths();
  const auto together = policy.sample(prompts, 3, 16, toy::kEnd, toy::any_length, {1.0, 5});
  const auto alone =
      policy.sample(std::span(prompts).first(1), 3, 16, toy::kEnd, toy::any_length, {1.0, 5});
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].tokens, together[i].tokens) << i;
  }
}

// Every completion token's log-probability comes once from the cached decode and once from a full
// forward pass: equal whatever the lengths of prompts and completions, so a ratio is 1 at step 0.
TEST(PolicySample, RecordsTheLogProbabilitiesOfTheFullForwardPass) {
  for (const double temperature : {1.0, 0.6, 1.7}) {
    for (const char* family : {"qwen3", "qwen2", "llama"}) {
      const Policy policy(toy::config(family), 3);
      const auto trajectories = sampled_trajectories(policy, 5, 11, temperature);
      for (const Trajectory& t : trajectories) {
        ASSERT_FALSE(t.completion.tokens.empty());
        AnyLength matcher(9);
        const auto expected =
            policy.log_probs(t.prompt, t.completion.tokens, &matcher, temperature);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(t.completion.log_probs[i], expected[i], 1e-5) << family << " position " << i;
        }
      }
    }
  }
}

TEST(PolicySample, KeepsItsCacheBeyondItsFirstCapacity) {
  const Policy policy(toy::config(), 3);
  const std::vector<std::vector<int32_t>> prompts{{2, 3}, {4}};
  const auto matcher = [](int64_t) { return std::make_unique<toy::FixedLength>(149, 2, 17); };
  const auto completions = policy.sample(prompts, 2, 150, toy::kEnd, matcher, {1.0, 1});
  for (std::size_t i = 0; i < completions.size(); ++i) {
    const Completion& c = completions[i];
    ASSERT_EQ(c.tokens.size(), 150u);
    toy::FixedLength replay(149, 2, 17);
    const auto expected = policy.log_probs(prompts[i / 2], c.tokens, &replay, 1.0);
    for (std::size_t t = 0; t < c.tokens.size(); ++t) {
      ASSERT_NEAR(c.log_probs[t], expected[t], 1e-5) << t;
    }
  }
}

TEST(PolicySample, DrawsOnlyAllowedTokensAndEndsThere) {
  const Policy policy(toy::config(), 2);
  const std::vector<std::vector<int32_t>> prompts{{2, 3}};
  const auto matcher = [](int64_t) { return std::make_unique<toy::FixedLength>(4, 6, 9); };
  for (const Completion& c : policy.sample(prompts, 20, 32, toy::kEnd, matcher, {1.0, 1})) {
    ASSERT_EQ(c.tokens.size(), 5u);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_TRUE(c.tokens[i] >= 6 && c.tokens[i] < 9);
    EXPECT_EQ(c.tokens[4], toy::kEnd);
    EXPECT_EQ(c.log_probs[4], 0.0f);  // nothing else was allowed
    EXPECT_TRUE(c.finished);
  }
}

TEST(PolicySample, MarksWhatTheLimitCut) {
  const Policy policy(toy::config(), 2);
  const std::vector<std::vector<int32_t>> prompts{{2, 3}};
  const auto matcher = [](int64_t) { return std::make_unique<toy::FixedLength>(4, 6, 9); };
  for (const Completion& c : policy.sample(prompts, 3, 4, toy::kEnd, matcher, {1.0, 1})) {
    EXPECT_EQ(c.tokens.size(), 4u);
    EXPECT_FALSE(c.finished);
  }
}

TEST(PolicySample, FollowsTheDistributionItReports) {
  const Policy policy(toy::config(), 2);
  const std::vector<std::vector<int32_t>> prompts{{2, 3}};
  const auto matcher = [](int64_t) { return std::make_unique<toy::FixedLength>(1, 4, 9); };
  std::vector<double> count(toy::kVocabulary), probability(toy::kVocabulary);
  const int n = 4000;
  for (const Completion& c : policy.sample(prompts, n, 1, toy::kEnd, matcher, {1.5, 1})) {
    const auto token = static_cast<std::size_t>(c.tokens[0]);
    ++count[token];
    probability[token] = std::exp(c.log_probs[0]);
  }
  double total = 0;
  for (std::size_t t = 0; t < count.size(); ++t) {
    const double p = probability[t];
    EXPECT_NEAR(count[t] / n, p, 5 * std::sqrt(p * (1 - p) / n)) << t;
    total += p;
  }
  EXPECT_NEAR(total, 1, 1e-5);
}

TEST(PolicySample, RefusesMisuseByName) {
  const Policy policy(toy::config(), 2);
  const auto sample = [&](std::vector<int32_t> prompt, double temperature) {
    const std::vector<std::vector<int32_t>> prompts{std::move(prompt)};
    policy.sample(prompts, 1, 4, toy::kEnd, toy::any_length, {temperature, 1});
  };
  EXPECT_NO_THROW(sample({2}, 1));
  EXPECT_THROW(sample({}, 1), Error);
  EXPECT_THROW(sample({toy::kVocabulary}, 1), Error);
  EXPECT_THROW(sample({-1}, 1), Error);
  EXPECT_THROW(sample({2}, 0), Error);
  EXPECT_THROW(sample(std::vector<int32_t>(40000, 2), 1), Error);
  const std::vector<std::vector<int32_t>> prompts{{2}};
  const auto nothing = [](int64_t) { return std::make_unique<toy::FixedLength>(1, 5, 5); };
  EXPECT_THROW(policy.sample(prompts, 1, 4, toy::kEnd, nothing, {1.0, 1}), Error);
}

TEST(PolicyLogProbs, RefuseATokenThatIsNotAllowed) {
  const Policy policy(toy::config(), 2);
  toy::FixedLength matcher(3, 6, 9);
  EXPECT_THROW(policy.log_probs({2}, std::vector<int32_t>{6, 12}, &matcher, 1.0), Error);
}

}  // namespace
}  // namespace crinn::train
