// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "crinn/base/error.h"
#include "crinn/train/policy.h"
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
