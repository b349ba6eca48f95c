// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "crinn/train/policy.h"
#include "transformer.h"

namespace crinn::train {

using SequenceMatcher = std::function<std::unique_ptr<TokenMatcher>(int64_t sequence)>;

/// A token with its log-probability under the masked, tempered distribution.
struct Drawn {
  int32_t token = -1;
  float log_prob = 0;
};

/// Inverse CDF at `u` in [0, 1) over the allowed tokens in the vocabulary's order. An empty mask
/// allows all. token is -1 where nothing is allowed.
Drawn draw(std::span<const float> logits, std::span<const uint8_t> allowed, double temperature,
           double u);

/// Uniform in [0, 1): a function of its arguments alone, so that a sequence's draws depend neither
/// on what else is in the batch nor on when others finish.
double draw_uniform(uint64_t seed, int64_t sequence, int64_t position);

/// See Policy::sample.
std::vector<Completion> sample_completions(const ModelConfig& config, const TensorMap& parameters,
                                           std::span<const std::vector<int32_t>> prompts, int n,
                                           int max_new_tokens, int32_t end_token,
                                           const SequenceMatcher& matcher,
                                           const SamplingOptions& options);

}  // namespace crinn::train
