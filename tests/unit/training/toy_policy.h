// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crinn/train/policy.h"

namespace crinn::train::toy {

inline constexpr int32_t kEnd = 1;
inline constexpr int kVocabulary = 17;

/// A model small enough for plain loops in double. Query heads are shared unevenly with the hidden
/// size on purpose (heads * head_dim != hidden_size).
inline std::string config(const std::string& model_type = "qwen3", bool tied = true,
                          int vocabulary = kVocabulary) {
  return R"({"model_type": ")" + model_type + R"(", "hidden_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
    "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "initializer_range": 0.3, "vocab_size": )" +
         std::to_string(vocabulary) + R"(, "tie_word_embeddings": )" + (tied ? "true" : "false") +
         "}";
}

/// Completions of `length` choices among tokens [low, high), then the end token.
class FixedLength : public TokenMatcher {
 public:
  FixedLength(int length, int32_t low, int32_t high) : left_(length), low_(low), high_(high) {}
  void allowed(std::span<uint8_t> mask) const override {
    std::fill(mask.begin(), mask.end(), uint8_t{0});
    if (left_ > 0) {
      std::fill(mask.begin() + low_, mask.begin() + high_, uint8_t{1});
    } else {
      mask[kEnd] = 1;
    }
  }
  void advance(int32_t) override { --left_; }
  bool finished() const override { return left_ < 0; }

 private:
  int left_;
  int32_t low_, high_;
};

/// Every token but the end may come `longest` times; the end may come any time after the first.
class AnyLength : public TokenMatcher {
 public:
  explicit AnyLength(int longest) : longest_(longest) {}
  void allowed(std::span<uint8_t> mask) const override {
    std::fill(mask.begin(), mask.end(), static_cast<uint8_t>(used_ < longest_));
    mask[kEnd] = used_ > 0;
  }
  void advance(int32_t token) override {
    ++used_;
    ended_ = token == kEnd;
  }
  bool finished() const override { return ended_; }

 private:
  int longest_;
  int used_ = 0;
  bool ended_ = false;
};

inline std::vector<std::vector<int32_t>> prompts_of_mixed_lengths() {
  return {{2, 3, 4}, {5}, {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, {16, 15}, {5}};
}

inline std::unique_ptr<TokenMatcher> any_length(int64_t) { return std::make_unique<AnyLength>(9); }

/// Samples n completions of every prompt and turns them into trajectories with alternating
/// advantages.
inline std::vector<Trajectory> sampled_trajectories(const Policy& policy, int n, uint64_t seed,
                                                    double temperature = 1.0) {
  const auto prompts = prompts_of_mixed_lengths();
  SamplingOptions options;
  options.seed = seed;
  options.temperature = temperature;
  const auto completions = policy.sample(prompts, n, 16, kEnd, any_length, options);
  std::vector<Trajectory> result;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    Trajectory& trajectory = result.emplace_back();
    trajectory.prompt = prompts[i / static_cast<std::size_t>(n)];
    trajectory.completion = completions[i];
    trajectory.advantage = i % 2 ? 1.0 : -0.7;
  }
  return result;
}

inline std::unique_ptr<TokenMatcher> any_length_of_role(harness::Role) {
  return std::make_unique<AnyLength>(9);
}

}  // namespace crinn::train::toy
