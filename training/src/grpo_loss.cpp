// SPDX-License-Identifier: Apache-2.0
#include "grpo_loss.h"

#include <algorithm>
#include <numeric>

namespace crinn::train {
namespace {

// exp(20) is far beyond any clip range, and exp() of more would be inf, its gradient NaN.
constexpr double kMaxLogRatio = 20.0;

at::Tensor clamp_log_ratio(const at::Tensor& log_ratio) {
  return log_ratio.clamp(-kMaxLogRatio, kMaxLogRatio);
}

// Each token's value becomes the mean over its sequence.
at::Tensor sequence_means(const at::Tensor& values, const std::vector<int64_t>& lengths) {
  std::vector<int64_t> owner;
  std::vector<double> inverse;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    owner.insert(owner.end(), static_cast<std::size_t>(lengths[i]), static_cast<int64_t>(i));
    inverse.push_back(1.0 / static_cast<double>(lengths[i]));
  }
  const at::Tensor index = to_tensor(owner).to(values.device());
  const at::Tensor sums = at::zeros({static_cast<int64_t>(lengths.size())}, values.options())
                              .index_add(0, index, values);
  const at::Tensor means = sums * to_tensor(inverse, values.scalar_type()).to(values.device());
  return means.index_select(0, index);
}

double sum(const at::Tensor& values) { return values.sum().to(at::kDouble).item<double>(); }

}  // namespace

std::vector<double> token_weights(Loss loss, std::span<const int64_t> lengths, int64_t longest) {
  const auto sequences = static_cast<double>(lengths.size());
  const auto tokens =
      static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
  if (longest == 0 && !lengths.empty()) longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<double> weights;
  for (const int64_t length : lengths) {
    switch (loss) {
      case Loss::kGrpo:
      case Loss::kGspo: weights.push_back(1.0 / (sequences * static_cast<double>(length))); break;
      case Loss::kDrGrpo:
        weights.push_back(1.0 / (sequences * static_cast<double>(longest)));
        break;
      case Loss::kBnpo:
      case Loss::kDapo:
      case Loss::kCispo: weights.push_back(1.0 / tokens); break;
    }
  }
  return weights;
}

at::Tensor grpo_loss(const LossInputs& inputs, const UpdateOptions& options, LossSums& sums) {
  const at::Tensor& advantage = inputs.advantage;
  at::Tensor log_ratio = inputs.log_probs - inputs.behaviour;
  if (options.loss == Loss::kGspo) log_ratio = sequence_means(log_ratio, inputs.lengths);
  const at::Tensor ratio = clamp_log_ratio(log_ratio).exp();
  const double low = 1.0 - options.epsilon_low;
  const double high = 1.0 + options.epsilon_high;

  at::Tensor loss;
  if (options.loss == Loss::kCispo) {
    loss = -(ratio.detach().clamp_max(high) * advantage * inputs.log_probs);
  } else {
    loss = -at::minimum(ratio * advantage, ratio.clamp(low, high) * advantage);
  }
  if (options.beta != 0) {
    const at::Tensor drift = clamp_log_ratio(inputs.reference - inputs.log_probs);
    const at::Tensor kl = drift.exp() - drift - 1.0;
    loss = loss + options.beta * kl;
    sums.kl += sum(kl.detach());
  }
  if (options.entropy_bonus != 0) loss = loss - options.entropy_bonus * inputs.entropy;

  const at::Tensor plain = ratio.detach();
  sums.entropy += sum(inputs.entropy.detach());
  sums.clip_high += sum((plain > high).logical_and(advantage > 0));
  // CISPO has no lower bound.
  if (options.loss != Loss::kCispo) sums.clip_low += sum((plain < low).logical_and(advantage < 0));
  return (loss * inputs.weight).sum();
}

}  // namespace crinn::train
