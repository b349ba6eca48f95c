// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "crinn/train/policy.h"
#include "toy_policy.h"

namespace crinn::train {
namespace {

constexpr int kLength = 5;

std::unique_ptr<TokenMatcher> choices() {
  return std::make_unique<toy::FixedLength>(kLength, 2, toy::kVocabulary);
}
std::unique_ptr<TokenMatcher> choices_of_role(harness::Role) { return choices(); }

/// The share of a completion's choices that are the prompt's own token: the right answer depends on
/// the context, as it does for exemplars.
double reward(const Trajectory& t) {
  double hits = 0;
  for (int i = 0; i < kLength; ++i) {
    hits += t.completion.tokens[static_cast<std::size_t>(i)] == t.prompt[1];
  }
  return hits / kLength;
}

/// GRPO steps on a bandit; returns the mean reward of the last five steps.
double learn(Policy& policy, const UpdateOptions& options, Advantage kind, int steps) {
  const std::vector<std::vector<int32_t>> prompts{{0, 4, 0}, {0, 7}};
  constexpr int kGroup = 8;
  double recent = 0;
  for (int step = 0; step < steps; ++step) {
    const auto completions =
        policy.sample(prompts, kGroup, kLength + 1, toy::kEnd, [](int64_t) { return choices(); },
                      {options.temperature, static_cast<uint64_t>(step)});
    std::vector<Trajectory> batch;
    double mean = 0;
    for (std::size_t prompt = 0; prompt < prompts.size(); ++prompt) {
      std::vector<double> rewards;
      for (int i = 0; i < kGroup; ++i) {
        Trajectory& t = batch.emplace_back();
        t.prompt = prompts[prompt];
        t.completion = completions[batch.size() - 1];
        rewards.push_back(t.reward = reward(t));
        mean += t.reward / (2 * kGroup);
      }
      const auto advantages = group_advantages(rewards, kind);
      for (int i = 0; i < kGroup; ++i) {
        batch[prompt * kGroup + static_cast<std::size_t>(i)].advantage =
            advantages[static_cast<std::size_t>(i)];
      }
    }
    policy.update(batch, choices_of_role, options);
    if (step >= steps - 5) recent += mean / 5;
  }
  return recent;
}

class Learning : public testing::TestWithParam<Loss> {};

TEST_P(Learning, RaisesTheRewardOfABandit) {
  UpdateOptions options;
  options.loss = GetParam();
  options.learning_rate = 1e-2;
  Policy policy(toy::config(), 1);
  // Chance is 1 in 15.
  EXPECT_GT(learn(policy, options, Advantage::kGroup, 80), 0.7);
}

INSTANTIATE_TEST_SUITE_P(Losses, Learning,
                         testing::Values(Loss::kGrpo, Loss::kBnpo, Loss::kDapo, Loss::kDrGrpo,
                                         Loss::kGspo, Loss::kCispo));

TEST(Learning, WorksWithEveryAdvantage) {
  for (const Advantage kind : {Advantage::kLeaveOneOut, Advantage::kRank}) {
    UpdateOptions options;
    options.learning_rate = 1e-2;
    Policy policy(toy::config(), 1);
    EXPECT_GT(learn(policy, options, kind, 80), 0.7) << static_cast<int>(kind);
  }
}

TEST(Learning, IsDeterministicForASeed) {
  UpdateOptions options;
  options.learning_rate = 1e-2;
  Policy a(toy::config(), 1);
  Policy b(toy::config(), 1);
  EXPECT_EQ(learn(a, options, Advantage::kGroup, 6), learn(b, options, Advantage::kGroup, 6));
  const std::vector<int32_t> text{5, 6, 7, 8, 9, 1};
  EXPECT_EQ(a.log_probs({2}, text, nullptr, 1.0), b.log_probs({2}, text, nullptr, 1.0));
}

TEST(Learning, AnEntropyBonusKeepsThePolicyOpen) {
  const auto entropy_after = [](double bonus) {
    Policy policy(toy::config(), 1);
    UpdateOptions options;
    options.learning_rate = 1e-2;
    options.entropy_bonus = bonus;
    learn(policy, options, Advantage::kGroup, 50);
    const auto batch = toy::sampled_trajectories(policy, 4, 1);
    options.learning_rate = 0;
    return policy.update(batch, toy::any_length_of_role, options).entropy;
  };
  EXPECT_GT(entropy_after(0.5), entropy_after(0.0) + 0.2);
}

TEST(Imitation, LowersItsLossToTheTargetsEntropy) {
  Policy policy(toy::config(), 1);
  // Each prompt has one right answer, its own token repeated: nothing is left to guess.
  std::vector<Trajectory> batch;
  for (int32_t token = 2; token < 8; ++token) {
    Trajectory& t = batch.emplace_back();
    t.prompt = {0, token};
    t.completion.tokens.assign(kLength, token);
    t.completion.tokens.push_back(toy::kEnd);
    t.completion.finished = true;
  }
  const double first = policy.imitate(batch, choices_of_role, 1e-2, 1.0);
  // 15 choices a position, and an end token that costs nothing.
  EXPECT_NEAR(first, std::log(15.0) * kLength / (kLength + 1), 1.5);
  double last = first;
  for (int step = 0; step < 80; ++step) last = policy.imitate(batch, choices_of_role, 1e-2, 1.0);
  EXPECT_LT(last, 0.05);
  EXPECT_EQ(policy.imitate({}, choices_of_role, 1e-2, 1.0), 0);
}

TEST(Imitation, ShiftsLabelsByExactlyOne) {
  Policy policy(toy::config(), 1);
  Trajectory t;
  t.prompt = {3};
  t.completion.tokens = {4, 5, 6, 7, 8, toy::kEnd};
  t.completion.finished = true;
  const std::vector<Trajectory> batch{t};
  for (int step = 0; step < 100; ++step) policy.imitate(batch, nullptr, 1e-2, 1.0);
  const std::vector<std::vector<int32_t>> prompts{t.prompt};
  const auto completions = policy.sample(prompts, 3, 10, toy::kEnd, nullptr, {0.2, 1});
  for (const Completion& c : completions) EXPECT_EQ(c.tokens, t.completion.tokens);
}

}  // namespace
}  // namespace crinn::train
