// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "toy_policy.h"

namespace crinn::train {
namespace {

using toy::any_length_of_role;
using toy::AnyLength;
using toy::sampled_trajectories;

/// A fingerprint of all weights, without access to them: log-probabilities of a fixed text.
std::vector<float> fingerprint(const Policy& policy) {
  return policy.log_probs({2, 9, 4}, std::vector<int32_t>{5, 6, 7, 8, 16, 15, 1}, nullptr, 1.0);
}

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

TEST(PolicyUpdate, SeesRatioOneBeforeTheFirstStep) {
  Policy policy(toy::config(), 4);
  auto batch = sampled_trajectories(policy, 5, 3);
  UpdateOptions options;
  options.learning_rate = 0;
  options.epsilon_low = options.epsilon_high = 1e-4;  // any ratio outside of 1 +- 1e-4 is counted
  const UpdateMetrics metrics = policy.update(batch, any_length_of_role, options);
  EXPECT_EQ(metrics.clip_ratio_region_mean, 0);
  double expected = 0;
  double tokens = 0;
  for (const Trajectory& t : batch) {
    expected -= t.advantage * static_cast<double>(t.completion.tokens.size());
    tokens += static_cast<double>(t.completion.tokens.size());
  }
  EXPECT_NEAR(metrics.loss, expected / tokens, 1e-5);
  EXPECT_EQ(metrics.num_tokens, static_cast<int64_t>(tokens));
  EXPECT_GT(metrics.entropy, 0);
  EXPECT_LT(metrics.entropy, std::log(toy::kVocabulary));
}

TEST(PolicyUpdate, MustBeToldTheTemperatureOfTheSampler) {
  Policy policy(toy::config(), 4);
  const auto batch = sampled_trajectories(policy, 5, 3, 0.5);
  UpdateOptions options;
  options.learning_rate = 0;
  options.epsilon_low = options.epsilon_high = 1e-4;
  options.temperature = 0.5;
  EXPECT_EQ(policy.update(batch, any_length_of_role, options).clip_ratio_region_mean, 0);
  options.temperature = 1.0;
  EXPECT_GT(policy.update(batch, any_length_of_role, options).clip_ratio_region_mean, 0.2);
}

TEST(PolicyUpdate, DoesNotDependOnMicroBatchesOrOrder) {
  for (const Loss loss :
       {Loss::kGrpo, Loss::kBnpo, Loss::kDapo, Loss::kDrGrpo, Loss::kGspo, Loss::kCispo}) {
    UpdateOptions options;
    options.loss = loss;
    options.learning_rate = 1e-3;
    Policy whole(toy::config(), 4);
    Policy split(toy::config(), 4);
    auto batch = sampled_trajectories(whole, 4, 3);
    const UpdateMetrics a = whole.update(batch, any_length_of_role, options);
    options.micro_batch_tokens = 12;
    std::reverse(batch.begin(), batch.end());
    const UpdateMetrics b = split.update(batch, any_length_of_role, options);
    EXPECT_NEAR(a.loss, b.loss, 1e-5);
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-4 * a.grad_norm);
    EXPECT_NEAR(a.entropy, b.entropy, 1e-5);
  }
}

// Some roles may have a matcher and others none.
TEST(PolicyUpdate, MasksOnlyWhatHasAMatcher) {
  Policy policy(toy::config(), 4);
  const std::vector<std::vector<int32_t>> prompts{{2, 3}};
  std::vector<Trajectory> batch;
  for (const bool free : {true, false, true}) {
    const auto matcher = [&](int64_t) { return free ? nullptr : toy::any_length(0); };
    for (const Completion& c : policy.sample(prompts, 2, 200, toy::kEnd, matcher, {1.0, 1})) {
      Trajectory& t = batch.emplace_back();
      t.role = free ? harness::Role::kConstruction : harness::Role::kSearch;
      t.prompt = prompts[0];
      t.completion = c;
      t.completion.finished = true;
      t.advantage = 1;
    }
  }
  UpdateOptions options;
  options.epsilon_low = options.epsilon_high = 1e-4;
  const auto matcher = [](harness::Role role) {
    return role == harness::Role::kSearch ? toy::any_length(0) : nullptr;
  };
  EXPECT_EQ(policy.update(batch, matcher, options).clip_ratio_region_mean, 0);
  EXPECT_NEAR(policy.update(batch, matcher, options).loss, -1, 0.05);
}

// The gradient that reaches the weights is the formula's: plain finite differences of the loss that
// update() reports, along the step that a tiny learning rate takes.
TEST(PolicyUpdate, DescendsItsLoss) {
  for (const Loss loss : {Loss::kGrpo, Loss::kBnpo, Loss::kDapo, Loss::kDrGrpo, Loss::kGspo}) {
    Policy policy(toy::config(), 4);
    const auto batch = sampled_trajectories(policy, 4, 3);
    UpdateOptions options;
    options.loss = loss;
    options.learning_rate = 1e-4;
    const double before = policy.update(batch, any_length_of_role, options).loss;
    const double after = policy.update(batch, any_length_of_role, options).loss;
    EXPECT_LT(after, before - 1e-5) << static_cast<int>(loss);
  }
}

TEST(PolicyUpdate, LeavesUnfinishedCompletionsOutOfTheDenominators) {
  for (const Loss loss : {Loss::kGrpo, Loss::kDapo, Loss::kDrGrpo, Loss::kGspo}) {
    UpdateOptions options;
    options.loss = loss;
    Policy a(toy::config(), 4);
    Policy b(toy::config(), 4);
    auto batch = sampled_trajectories(a, 4, 3);
    const UpdateMetrics without = a.update(batch, any_length_of_role, options);
    Trajectory cut = batch[0];
    cut.completion.finished = false;
    cut.advantage = 100;
    cut.completion.tokens.resize(1);
    cut.completion.log_probs.resize(1);
    batch.push_back(cut);
    const UpdateMetrics with = b.update(batch, any_length_of_role, options);
    EXPECT_EQ(without.loss, with.loss);
    EXPECT_EQ(without.num_tokens, with.num_tokens);
    EXPECT_EQ(fingerprint(a), fingerprint(b));
  }
}

TEST(PolicyUpdate, ChangesNothingWhereThereIsNothingToLearn) {
  for (const Loss loss :
       {Loss::kGrpo, Loss::kBnpo, Loss::kDapo, Loss::kDrGrpo, Loss::kGspo, Loss::kCispo}) {
    Policy policy(toy::config(), 4);
    UpdateOptions options;
    options.loss = loss;
    options.learning_rate = 0.1;
    options.weight_decay = 0.1;
    auto batch = sampled_trajectories(policy, 4, 3);
    // Momentum from a real step must not move the weights in an empty one.
    policy.update(batch, any_length_of_role, options);
    const auto weights = fingerprint(policy);
    for (Trajectory& t : batch) t.completion.finished = false;
    const UpdateMetrics masked = policy.update(batch, any_length_of_role, options);
    EXPECT_EQ(masked.num_tokens, 0);
    EXPECT_EQ(masked.loss, 0);
    for (Trajectory& t : batch) {
      t.completion.finished = true;
      t.advantage = 0;
    }
    EXPECT_EQ(policy.update(batch, any_length_of_role, options).loss, 0);
    EXPECT_EQ(policy.update({}, any_length_of_role, options).loss, 0);
    EXPECT_EQ(fingerprint(policy), weights);
  }
}

// A head that shares its weights with the embedding, or a copy that a decoder keeps, must not lag
// behind an update.
TEST(PolicyUpdate, ReachesTheSampler) {
  for (const bool tied : {true, false}) {
    Policy policy(toy::config("qwen3", tied), 4);
    UpdateOptions options;
    options.learning_rate = 0.05;
    policy.update(sampled_trajectories(policy, 4, 3), any_length_of_role, options);
    for (const Trajectory& t : sampled_trajectories(policy, 4, 5)) {
      AnyLength matcher(9);
      const auto expected = policy.log_probs(t.prompt, t.completion.tokens, &matcher, 1.0);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(t.completion.log_probs[i], expected[i], 1e-5);
      }
    }
  }
}

TEST(PolicyUpdate, ReportsTheNormBeforeClipping) {
  UpdateOptions options;
  Policy free(toy::config(), 4);
  options.max_grad_norm = 0;
  const auto batch = sampled_trajectories(free, 4, 3);
  const double norm = free.update(batch, any_length_of_role, options).grad_norm;
  Policy clipped(toy::config(), 4);
  options.max_grad_norm = norm / 100;
  EXPECT_EQ(clipped.update(batch, any_length_of_role, options).grad_norm, norm);
  EXPECT_GT(norm, 0);
}

TEST(PolicyUpdate, MeasuresAndPenalisesTheDriftFromTheReference) {
  Policy policy(toy::config(), 4);
  UpdateOptions options;
  options.beta = 0.1;
  options.learning_rate = 0.01;
  const auto batch = sampled_trajectories(policy, 4, 3);
  EXPECT_THROW(policy.update(batch, any_length_of_role, options), Error);
  policy.set_reference();
  EXPECT_NEAR(policy.update(batch, any_length_of_role, options).kl, 0, 1e-8);
  const double drift = policy.update(batch, any_length_of_role, options).kl;
  EXPECT_GT(drift, 1e-4);
  // Without advantages only the KL term is left, and it pulls back.
  auto flat = batch;
  for (Trajectory& t : flat) t.advantage = 0;
  for (int i = 0; i < 60; ++i) policy.update(flat, any_length_of_role, options);
  EXPECT_LT(policy.update(flat, any_length_of_role, options).kl, drift / 2);
}

TEST(PolicyUpdate, TakesSeveralEpochsOverABatch) {
  Policy once(toy::config(), 4);
  Policy twice(toy::config(), 4);
  UpdateOptions options;
  options.learning_rate = 1e-3;
  const auto batch = sampled_trajectories(once, 4, 3);
  once.update(batch, any_length_of_role, options);
  once.update(batch, any_length_of_role, options);
  options.epochs = 2;
  twice.update(batch, any_length_of_role, options);
  EXPECT_EQ(fingerprint(once), fingerprint(twice));
}

TEST(PolicyUpdate, RefusesMisuseByName) {
  Policy policy(toy::config(), 4);
  auto batch = sampled_trajectories(policy, 1, 3);
  const auto weights = fingerprint(policy);
  UpdateOptions options;
  options.temperature = 0;
  EXPECT_THROW(policy.update(batch, any_length_of_role, options), Error);
  options.temperature = 1;
  batch[0].completion.log_probs.pop_back();
  EXPECT_THROW(policy.update(batch, any_length_of_role, options), Error);
  batch = sampled_trajectories(policy, 1, 3);
  batch[0].advantage = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(policy.update(batch, any_length_of_role, options), Error);
  EXPECT_EQ(fingerprint(policy), weights);
}

}  // namespace
}  // namespace crinn::train
