// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/warm_start.h"

#include <algorithm>
#include <chrono>

#include "crinn/base/rng.h"

namespace crinn::train {

Trajectory editing_example(harness::Role role, int exemplars, double edit_fraction,
                           const Codec& codec, const Operators& operators, Rng& rng) {
  std::vector<Exemplar> shown;
  for (int i = 0; i < std::max(exemplars, 1); ++i) {
    // Exemplars of a real archive are relatives of one another as often as strangers.
    std::string text = !shown.empty() && rng.uniform() < 0.5
                           ? operators.edit(role, shown.back().completion, rng)
                           : operators.random(role, rng);
    shown.push_back({std::move(text), -0.8 + 1.6 * rng.uniform()});
  }
  std::sort(shown.begin(), shown.end(),
            [](const Exemplar& a, const Exemplar& b) { return a.reward < b.reward; });
  const Exemplar& best = shown.back();
  const bool cross = shown.size() > 1 && rng.uniform() >= edit_fraction;
  const std::string target =
      cross ? operators.crossover(role, best.completion, shown[shown.size() - 2].completion, rng)
            : operators.edit(role, best.completion, rng);
  Trajectory example;
  example.role = role;
  example.prompt = codec.prompt(role, shown);
  example.completion.tokens = codec.encode(role, target);
  example.completion.finished = true;
  example.advantage = 1;
  return example;
}

double warm_start(Policy& policy, std::span<const harness::Role> roles, const Codec& codec,
                  const Operators& operators, const WarmStartConfig& config, int exemplars,
                  double max_grad_norm, uint64_t seed,
                  const std::function<bool(int step, double loss)>& progress) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  double loss = 0;
  for (int step = 0; step < config.steps; ++step) {
    const double elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
    if (config.seconds > 0 && elapsed > config.seconds) break;
    std::vector<Trajectory> batch;
    for (int i = 0; i < config.batch; ++i) {
      Rng rng(mix_seed(mix_seed(seed, static_cast<uint64_t>(step)), static_cast<uint64_t>(i)));
      const harness::Role role = roles[rng.below(roles.size())];
      batch.push_back(
          editing_example(role, exemplars, config.edit_fraction, codec, operators, rng));
    }
    // A short rise, then a linear fall: most of what a small budget of steps can gain. The fall
    // follows whichever of the two budgets is nearer its end.
    const double done =
        std::max(static_cast<double>(step) / config.steps,
                 config.seconds > 0 ? std::min(elapsed / config.seconds, 1.0) : 0.0);
    const double rate =
        config.learning_rate * std::min((step + 1) / 20.0, 1.0) * (1.0 - 0.9 * done);
    loss = policy.imitate(
        batch, [&](harness::Role role) { return codec.matcher(role); }, rate, max_grad_norm);
    if (!progress(step + 1, loss)) break;
  }
  return loss;
}

}  // namespace crinn::train
