// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crinn/train/policy.h"
#include "tensors.h"

namespace crinn::train {

/// What a loss needs to know of a batch of T completion tokens, sequence by sequence.
struct LossInputs {
  at::Tensor log_probs;  ///< [T], differentiable
  at::Tensor entropy;    ///< [T] of the masked distribution; differentiable where it is in the loss
  at::Tensor behaviour;  ///< [T] log-probabilities of the policy that sampled them
  at::Tensor reference;  ///< [T], or undefined where beta is 0
  at::Tensor advantage;  ///< [T]
  at::Tensor weight;     ///< [T] from token_weights()
  std::vector<int64_t> lengths;  ///< tokens of each sequence; they sum to T
};

/// Sums over tokens, to be divided by the batch's tokens.
struct LossSums {
  double kl = 0, entropy = 0, clip_low = 0, clip_high = 0;
};

/// The weight of a token in each sequence, such that every loss is a weighted sum over tokens, and
/// micro-batches add up to the batch: grpo and gspo 1 / (sequences * length), bnpo, dapo and cispo
/// 1 / tokens, dr_grpo 1 / (sequences * longest). `longest` 0: the longest of `lengths`.
std::vector<double> token_weights(Loss loss, std::span<const int64_t> lengths, int64_t longest);

/// The scalar to minimise. With rho = exp(log_probs - behaviour), clamped to exp(+-20):
/// grpo, bnpo, dapo, dr_grpo: -min(rho A, clip(rho, 1 - epsilon_low, 1 + epsilon_high) A);
/// gspo: the same with exp(mean log rho) of the sequence; cispo: -sg[min(rho, 1 + epsilon_high)] A
/// log_probs. Plus beta (exp(reference - p) - (reference - p) - 1), minus entropy_bonus * entropy.
at::Tensor grpo_loss(const LossInputs& inputs, const UpdateOptions& options, LossSums& sums);

}  // namespace crinn::train
