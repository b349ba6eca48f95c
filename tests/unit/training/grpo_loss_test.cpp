// SPDX-License-Identifier: Apache-2.0
#include "grpo_loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace crinn::train {
namespace {

// Sequences of 2, 3 and 1 tokens. Ratios lie inside of the clip range, below it and above it, with
// both signs of the advantage.
struct Example {
  std::vector<int64_t> lengths{2, 3, 1};
  std::vector<double> log_probs{-0.5, -1.2, -0.1, -2.0, -0.7, -0.3};
  std::vector<double> behaviour{-0.55, -0.8, -0.6, -2.05, -0.2, -0.9};
  std::vector<double> reference{-0.6, -1.0, -0.2, -1.5, -0.9, -0.3};
  std::vector<double> advantage{1.0, 1.0, -0.5, -0.5, -0.5, 2.0};
  std::vector<double> entropy{0.3, 0.2, 0.5, 0.7, 0.1, 0.4};

  LossInputs inputs(const UpdateOptions& options) const {
    LossInputs result;
    result.log_probs = to_tensor(log_probs, at::kDouble);
    result.entropy = to_tensor(entropy, at::kDouble);
    result.behaviour = to_tensor(behaviour, at::kDouble);
    if (options.beta != 0) result.reference = to_tensor(reference, at::kDouble);
    result.advantage = to_tensor(advantage, at::kDouble);
    result.lengths = lengths;
    const auto weights = token_weights(options.loss, lengths, options.max_completion_tokens);
    std::vector<double> of_tokens;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      of_tokens.insert(of_tokens.end(), static_cast<std::size_t>(lengths[i]), weights[i]);
    }
    result.weight = to_tensor(of_tokens, at::kDouble);
    return result;
  }

  // Mean over the values of a sequence, one a sequence.
  std::vector<double> means(const std::vector<double>& values) const {
    std::vector<double> result;
    auto next = values.begin();
    for (const int64_t length : lengths) {
      double sum = 0;
      for (int64_t i = 0; i < length; ++i) sum += *next++;
      result.push_back(sum / static_cast<double>(length));
    }
    return result;
  }
};

double value(const Example& example, const UpdateOptions& options, LossSums* sums = nullptr) {
  LossSums ignored;
  return grpo_loss(example.inputs(options), options, sums ? *sums : ignored).item<double>();
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

double surrogate(double ratio, double advantage, const UpdateOptions& o) {
  const double clipped = std::clamp(ratio, 1 - o.epsilon_low, 1 + o.epsilon_high);
  return -std::min(ratio * advantage, clipped * advantage);
}

std::vector<double> token_terms(const Example& e, const UpdateOptions& o) {
  std::vector<double> terms;
  for (std::size_t i = 0; i < e.log_probs.size(); ++i) {
    terms.push_back(surrogate(std::exp(e.log_probs[i] - e.behaviour[i]), e.advantage[i], o));
  }
  return terms;
}

UpdateOptions options_of(Loss loss) {
  UpdateOptions options;
  options.loss = loss;
  return options;
}

TEST(GrpoLoss, FollowsItsFormulas) {
  const Example e;
  const UpdateOptions defaults;
  const std::vector<double> terms = token_terms(e, defaults);
  EXPECT_NEAR(value(e, options_of(Loss::kGrpo)), mean(e.means(terms)), 1e-12);
  EXPECT_NEAR(value(e, options_of(Loss::kBnpo)), mean(terms), 1e-12);
  EXPECT_NEAR(value(e, options_of(Loss::kDapo)), mean(terms), 1e-12);
  EXPECT_NEAR(value(e, options_of(Loss::kDrGrpo)), mean(terms) * 6 / (3 * 3), 1e-12);
  UpdateOptions with_limit = options_of(Loss::kDrGrpo);
  with_limit.max_completion_tokens = 10;
  EXPECT_NEAR(value(e, with_limit), mean(terms) * 6 / (3 * 10), 1e-12);

  std::vector<double> log_ratios;
  std::vector<double> cispo;
  for (std::size_t i = 0; i < e.log_probs.size(); ++i) {
    log_ratios.push_back(e.log_probs[i] - e.behaviour[i]);
    cispo.push_back(-std::min(std::exp(log_ratios[i]), 1.28) * e.advantage[i] * e.log_probs[i]);
  }
  EXPECT_NEAR(value(e, options_of(Loss::kCispo)), mean(cispo), 1e-12);
  std::vector<double> gspo;
  const std::vector<double> sequence_ratio = e.means(log_ratios);
  const std::vector<double> sequence_advantage = e.means(e.advantage);
  for (std::size_t i = 0; i < 3; ++i) {
    gspo.push_back(surrogate(std::exp(sequence_ratio[i]), sequence_advantage[i], defaults));
  }
  EXPECT_NEAR(value(e, options_of(Loss::kGspo)), mean(gspo), 1e-12);
}

TEST(GrpoLoss, AddsTheK3TermAndTheEntropyBonus) {
  const Example e;
  UpdateOptions options;
  const double plain = value(e, options);
  options.beta = 0.3;
  std::vector<double> kl;
  for (std::size_t i = 0; i < e.log_probs.size(); ++i) {
    const double drift = e.reference[i] - e.log_probs[i];
    kl.push_back(std::exp(drift) - drift - 1);
  }
  LossSums sums;
  EXPECT_NEAR(value(e, options, &sums), plain + 0.3 * mean(kl), 1e-12);
  EXPECT_NEAR(sums.kl, mean(kl) * 6, 1e-12);
  EXPECT_NEAR(sums.entropy, mean(e.entropy) * 6, 1e-12);
  options.beta = 0;
  options.entropy_bonus = 0.2;
  EXPECT_NEAR(value(e, options), plain - 0.2 * mean(e.entropy), 1e-12);
}

TEST(GrpoLoss, CountsTheTokensThatClippingSilences) {
  // rho: 1.05, 0.67 (A > 0), 1.65 (A < 0), 1.05, 0.61 (A < 0), 1.82 (A > 0)
  LossSums sums;
  value(Example{}, UpdateOptions{}, &sums);
  EXPECT_EQ(sums.clip_low, 1);
  EXPECT_EQ(sums.clip_high, 1);
}

TEST(GrpoLoss, HasTheGradientsOfFiniteDifferences) {
  for (const Loss loss : {Loss::kGrpo, Loss::kBnpo, Loss::kDapo, Loss::kDrGrpo, Loss::kGspo}) {
    for (const double beta : {0.0, 0.2}) {
      UpdateOptions options = options_of(loss);
      options.beta = beta;
      Example e;
      LossInputs inputs = e.inputs(options);
      inputs.log_probs.set_requires_grad(true);
      LossSums sums;
      grpo_loss(inputs, options, sums).backward();
      for (std::size_t i = 0; i < e.log_probs.size(); ++i) {
        const double step = 1e-6;
        Example up = e;
        Example down = e;
        up.log_probs[i] += step;
        down.log_probs[i] -= step;
        EXPECT_NEAR(inputs.log_probs.grad()[static_cast<int64_t>(i)].item<double>(),
                    (value(up, options) - value(down, options)) / (2 * step), 1e-8)
            << "loss " << static_cast<int>(loss) << " token " << i;
      }
    }
  }
}

// The ratio's weight is held constant, so the gradient is not the value's derivative.
TEST(GrpoLoss, OfCispoHasTheGradientOfWeightedLikelihood) {
  const Example e;
  const UpdateOptions options = options_of(Loss::kCispo);
  LossInputs inputs = e.inputs(options);
  inputs.log_probs.set_requires_grad(true);
  LossSums sums;
  grpo_loss(inputs, options, sums).backward();
  for (std::size_t i = 0; i < e.log_probs.size(); ++i) {
    const double ratio = std::min(std::exp(e.log_probs[i] - e.behaviour[i]), 1.28);
    EXPECT_NEAR(inputs.log_probs.grad()[static_cast<int64_t>(i)].item<double>(),
                -ratio * e.advantage[i] / 6, 1e-12);
  }
}

TEST(GrpoLoss, StaysFiniteFarFromTheBehaviour) {
  for (const Loss loss : {Loss::kGrpo, Loss::kDapo, Loss::kGspo, Loss::kCispo}) {
    Example e;
    e.behaviour[0] = -800;
    e.behaviour[3] = 0;
    e.log_probs[3] = -900;
    e.advantage[0] = -1;
    UpdateOptions options = options_of(loss);
    options.beta = 0.1;
    LossInputs inputs = e.inputs(options);
    inputs.log_probs.set_requires_grad(true);
    LossSums sums;
    const at::Tensor found = grpo_loss(inputs, options, sums);
    found.backward();
    EXPECT_TRUE(std::isfinite(found.item<double>()));
    EXPECT_TRUE(inputs.log_probs.grad().isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace crinn::train
