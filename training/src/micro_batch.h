// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "crinn/train/policy.h"
#include "packing.h"

namespace crinn::train {

using RoleMatcher = std::function<std::unique_ptr<TokenMatcher>(harness::Role)>;

/// Completions that go through the network together; everything else is per completion token, in
/// the order of `packed.predicting_rows`.
struct MicroBatch {
  Packed packed;
  std::vector<int64_t> lengths;  ///< completion tokens of each sequence
  std::vector<int32_t> targets;
  std::vector<double> behaviour, advantage, weight;
  at::Tensor allowed;  ///< [T, vocabulary] bool, undefined where no sequence has a matcher
};

/// Splits trajectories into batches of at most max_tokens packed tokens (one completion at least).
/// Completions of equal prompts share it. weights[i] is the loss's weight of a token of
/// trajectories[i]; behaviour is left empty for trajectories without log-probabilities.
std::vector<MicroBatch> make_micro_batches(const ModelConfig& config,
                                           std::span<const Trajectory* const> trajectories,
                                           std::span<const double> weights,
                                           const RoleMatcher& matcher, int64_t max_tokens);

/// Log-probabilities of a micro-batch's targets and the entropy of what they were drawn from, [T].
struct TokenScores {
  at::Tensor log_probs, entropy;
};

/// `differentiable_entropy` false: the entropy carries no gradient.
TokenScores score_tokens(const ModelConfig& config, const TensorMap& parameters,
                         const MicroBatch& batch, double temperature, bool differentiable_entropy);

}  // namespace crinn::train
