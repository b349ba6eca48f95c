// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "crinn/train/codec.h"
#include "transformer.h"

namespace crinn::train {

/// A prompt with completions of it. The prompt's tokens stand once, however many completions
/// follow.
struct PackedGroup {
  int64_t begin = 0;   ///< the prompt's first token
  int64_t prompt = 0;  ///< its length
  /// The tokens that each completion feeds to the network: all but its last.
  std::vector<int64_t> completions;
};

/// Tokens of several groups end to end, without padding:
/// prompt, completion, completion, ..., prompt, completion, ...
struct Packed {
  std::vector<int32_t> tokens;
  std::vector<int64_t> positions;
  std::vector<PackedGroup> groups;
  /// For every completion token, completion by completion in the order they were added: the row
  /// whose hidden state predicts it. A completion's first token is predicted by its prompt's last.
  std::vector<int64_t> predicting_rows;

  void add_prompt(std::span<const int32_t> prompt);
  /// Of the prompt that was added last.
  void add_completion(std::span<const int32_t> completion);
};

/// Causal attention over a packed batch; completions see their prompt and themselves. Keeps masks
/// between layers, so make one for each forward pass. `packed` must outlive it.
Attend packed_attention(const ModelConfig& config, const Packed& packed);

/// Hidden states of all packed tokens, [N, hidden_size].
at::Tensor packed_hidden_states(const ModelConfig& config, const Weights& weights,
                                const Packed& packed);

/// 1 where a completion's matcher allows a token, one row a completion token: [T, vocabulary].
/// Throws Error (data) where the matcher does not allow the completion's own token.
void append_allowed(TokenMatcher& matcher, std::span<const int32_t> completion, int64_t vocabulary,
                    std::vector<uint8_t>& rows);

/// log-softmax of logits / temperature over the allowed tokens, [T, vocabulary]; -inf elsewhere.
/// `allowed` [T, vocabulary] bool; undefined: all are. The one place where temperature and mask
/// enter training, as draw() is for sampling.
at::Tensor masked_log_softmax(const at::Tensor& logits, const at::Tensor& allowed,
                              double temperature);

/// Throws Error (data) for a token outside of [0, vocabulary), Error (usage) for an empty prompt or
/// a sequence longer than the model's positions.
void check_sequence(const ModelConfig& config, std::span<const int32_t> prompt,
                    std::span<const int32_t> completion, int64_t max_new_tokens);

}  // namespace crinn::train
