// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crinn/train/codec.h"

namespace crinn::train {

struct SamplingOptions {
  double temperature = 1.0;
  uint64_t seed = 0;  ///< the draw of (sequence, position) depends on nothing else
};

/// One sampled completion. log_probs are of the masked, tempered distribution it was drawn from.
struct Completion {
  std::vector<int32_t> tokens;   ///< the end token included when finished
  std::vector<float> log_probs;  ///< [tokens]
  bool finished = false;         ///< false: cut at the codec's limit
};

/// What a GRPO update learns from.
struct Trajectory {
  harness::Role role = harness::Role::kSearch;
  std::vector<int32_t> prompt;
  Completion completion;
  double reward = 0;
  double advantage = 0;
  int64_t policy_step = 0;  ///< the step of the weights that sampled it
};

enum class Loss { kGrpo, kBnpo, kDapo, kDrGrpo, kGspo, kCispo };

struct UpdateOptions {
  Loss loss = Loss::kDapo;
  double learning_rate = 1e-4;
  double weight_decay = 0.0;
  double max_grad_norm = 1.0;
  double epsilon_low = 0.2, epsilon_high = 0.28;  ///< clip-higher
  double beta = 0.0;         ///< weight of the k3 KL term against the reference weights
  double temperature = 1.0;  ///< the one the trajectories were sampled with
  double entropy_bonus = 0.0;
  int epochs = 1;
};

/// TRL's names.
struct UpdateMetrics {
  double loss = 0, kl = 0, entropy = 0, grad_norm = 0;
  double clip_ratio_low_mean = 0, clip_ratio_high_mean = 0, clip_ratio_region_mean = 0;
  int64_t num_tokens = 0;
};

/// One decoder-only transformer with its optimiser. The shape comes from a Hugging Face
/// config.json.
class Policy {
 public:
  /// Fresh weights from `seed`. `config_json` is the text of a config.json ("model_type": "qwen3",
  /// hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
  /// intermediate_size, vocab_size, rope_theta, rms_norm_eps, tie_word_embeddings).
  /// Throws Error (usage) that names the key.
  Policy(const std::string& config_json, uint64_t seed);
  ~Policy();
  Policy(Policy&&) noexcept;

  int64_t parameters() const;
  const std::string& config_json() const;

  /// n completions of every prompt, prompt-major. KV-cached and batched; matcher(i) gives sequence
  /// i's matcher. Deterministic for a seed.
  std::vector<Completion> sample(
      std::span<const std::vector<int32_t>> prompts, int n, int max_new_tokens, int32_t end_token,
      const std::function<std::unique_ptr<TokenMatcher>(int64_t sequence)>& matcher,
      const SamplingOptions& options) const;

  /// Log-probabilities of the completion's tokens under the current weights, masked and tempered as
  /// in sampling: equal to Completion::log_probs before any update (to fp32 rounding).
  std::vector<float> log_probs(const std::vector<int32_t>& prompt,
                               std::span<const int32_t> completion, TokenMatcher* matcher,
                               double temperature) const;

  /// One GRPO update on trajectories whose advantages are set.
  UpdateMetrics update(std::span<const Trajectory> batch,
                       const std::function<std::unique_ptr<TokenMatcher>(harness::Role)>& matcher,
                       const UpdateOptions& options);

  /// One step of maximum likelihood on completions (warm start); returns the mean loss in nats a
  /// token.
  double imitate(std::span<const Trajectory> batch,
                 const std::function<std::unique_ptr<TokenMatcher>(harness::Role)>& matcher,
                 double learning_rate, double max_grad_norm);

  /// Keeps the current weights as the reference of the KL term.
  void set_reference();

  /// config.json + model.safetensors, and optimizer.safetensors with the step counter.
  void save(const std::filesystem::path& folder) const;
  void load(const std::filesystem::path& folder);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Advantages of one group (completions of one prompt). kGroup: (r - mean) / (std + 1e-4);
/// kLeaveOneOut: r_i - mean of the others; kRank: ranks mapped to [-1, 1].
enum class Advantage { kGroup, kLeaveOneOut, kRank, kNone };
std::vector<double> group_advantages(std::span<const double> rewards, Advantage kind);

}  // namespace crinn::train
