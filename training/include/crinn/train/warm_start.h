// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "crinn/train/codec.h"
#include "crinn/train/config.h"
#include "crinn/train/operators.h"
#include "crinn/train/policy.h"

namespace crinn::train {

/// One example of an editor at work: random exemplars with random scores in the prompt, an edit of
/// the best of them (or a crossover of the two best) as the completion. A policy that imitates this
/// varies the better exemplar from its first proposal on.
Trajectory editing_example(harness::Role role, int exemplars, double edit_fraction,
                           const Codec& codec, const Operators& operators, Rng& rng);

/// Imitates editing examples of the given roles until the steps or the seconds are spent;
/// `progress(step, loss)` after every step returns false to stop. Returns the last loss, in nats a
/// token.
double warm_start(Policy& policy, std::span<const harness::Role> roles, const Codec& codec,
                  const Operators& operators, const WarmStartConfig& config, int exemplars,
                  double max_grad_norm, uint64_t seed,
                  const std::function<bool(int step, double loss)>& progress);

}  // namespace crinn::train
