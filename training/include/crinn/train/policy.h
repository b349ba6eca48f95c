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
  /// Tokens of one forward and backward pass, a prompt counted once for its completions: bounds
  /// the memory, does not change the update.
  int64_t micro_batch_tokens = 8192;
  int64_t max_completion_tokens = 0;  ///< L_max of kDrGrpo; 0: the longest of the batch
};

/// TRL's names; means are over the completion tokens that were learnt from, and over epochs.
struct UpdateMetrics {
  double loss = 0;
  double kl = 0;         ///< k3 against the reference; 0 where beta is 0
  double entropy = 0;    ///< nats, of the masked distribution
  double grad_norm = 0;  ///< before clipping
  double clip_ratio_low_mean = 0, clip_ratio_high_mean = 0, clip_ratio_region_mean = 0;
  int64_t num_tokens = 0;  ///< completion tokens learnt from: finished completions only
};

/// One decoder-only transformer with its optimiser. The shape comes from a Hugging Face
/// config.json. fp32 on the CPU; the first one built sets libtorch to one thread, because two
/// collapse as soon as another process wants a core. Calls must not overlap.
class Policy {
 public:
  /// Fresh weights from `seed`. `config_json` is the text of a config.json ("model_type": "qwen3",
  /// hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
  /// intermediate_size, vocab_size, rope_theta, rms_norm_eps, tie_word_embeddings); "qwen2" and
  /// "llama" too. Throws Error (usage) that names a key which is missing, unknown or unsupported.
  Policy(const std::string& config_json, uint64_t seed);
  ~Policy();
  Policy(Policy&&) noexcept;

  int64_t parameters() const;
  /// Optimiser steps taken, by update() and imitate() together; saved and loaded.
  int64_t steps() const;
  const std::string& config_json() const;

  /// n completions of every prompt, prompt-major. KV-cached and batched; matcher(i) gives sequence
  /// i's matcher (nullptr: every token is allowed). A prompt is prefilled once for all of its
  /// completions. Deterministic for a seed. Throws Error (data) where a matcher allows nothing,
  /// Error (usage) for an empty prompt or more tokens than the model has positions.
  std::vector<Completion> sample(
      std::span<const std::vector<int32_t>> prompts, int n, int max_new_tokens, int32_t end_token,
      const std::function<std::unique_ptr<TokenMatcher>(int64_t sequence)>& matcher,
      const SamplingOptions& options) const;

  /// Log-probabilities of the completion's tokens under the current weights, masked and tempered as
  /// in sampling: equal to Completion::log_probs before any update (to fp32 rounding).
  std::vector<float> log_probs(const std::vector<int32_t>& prompt,
                               std::span<const int32_t> completion, TokenMatcher* matcher,
                               double temperature) const;

  /// One GRPO update (`epochs` optimiser steps) on trajectories whose advantages are set.
  /// Unfinished completions are left out, of denominators too. Where nothing is left to learn
  /// (no finished completion, or all advantages zero without KL and entropy terms) neither weights
  /// nor optimiser change. Throws Error (usage) for options out of range or a KL term without
  /// set_reference(), Error (data) for a token that its matcher does not allow.
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

  /// config.json + model.safetensors in Hugging Face's layout, optimizer.safetensors with the step
  /// counter, and reference.safetensors where set_reference() was called. Each file is replaced
  /// atomically.
  void save(const std::filesystem::path& folder) const;
  /// What save() wrote: training goes on bit for bit. Also weights from elsewhere (one file or
  /// shards, any floating-point type) where there is no optimizer.safetensors; the optimiser then
  /// begins afresh. Throws Error (data) naming the file and the parameter at fault, and for files
  /// that were saved at different steps.
  void load(const std::filesystem::path& folder);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Advantages of one group (completions of one prompt). kGroup: (r - mean) / (std + 1e-4);
/// kLeaveOneOut: r_i - mean of the others; kRank: ranks mapped to [-1, 1], ties share theirs;
/// kNone: the rewards. A constant group gets zeros (but for kNone). std is the sample's (n - 1).
enum class Advantage { kGroup, kLeaveOneOut, kRank, kNone };
std::vector<double> group_advantages(std::span<const double> rewards, Advantage kind);

}  // namespace crinn::train
