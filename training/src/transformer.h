// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "model_config.h"
#include "tensors.h"

namespace crinn::train {

/// Fresh parameters: normal with the config's initializer_range, ones for norms, zeros for biases.
/// Every tensor draws from its own stream, so a tensor's values depend on the seed and its name.
TensorMap initial_parameters(const ModelConfig& config, uint64_t seed,
                             at::ScalarType dtype = at::kFloat);

/// Throws Error (data) naming the first parameter that is missing, unknown, or of a wrong shape.
void check_parameters(const ModelConfig& config, const TensorMap& parameters,
                      const std::string& source);

/// The parameters of one layer as the forward pass wants them: projections that share an input are
/// one matrix. Absent biases are undefined tensors.
struct LayerWeights {
  at::Tensor input_norm, qkv, qkv_bias, qk_norm, output, output_bias;
  at::Tensor mlp_norm, gate_up, gate_up_bias, down, down_bias;
};

struct Weights {
  at::Tensor embedding, final_norm, head;
  std::vector<LayerWeights> layers;
};

/// Differentiable with respect to the parameters.
Weights fuse(const ModelConfig& config, const TensorMap& parameters);

/// Mixes tokens: (layer, queries [N, heads, head_dim], keys and values [N, kv_heads, head_dim]) ->
/// [N, heads * head_dim]. The only part of the network that knows which tokens belong together:
/// everything else works on N independent tokens, so no sequence is ever padded.
using Attend = std::function<at::Tensor(int64_t layer, const at::Tensor& queries,
                                        const at::Tensor& keys, const at::Tensor& values)>;

/// tokens [N], positions [N] (int64) -> [N, hidden_size], after the final norm.
at::Tensor hidden_states(const ModelConfig& config, const Weights& weights,
                         const at::Tensor& tokens, const at::Tensor& positions,
                         const Attend& attend);

/// [N, hidden_size] -> [N, vocab_size].
at::Tensor logits(const Weights& weights, const at::Tensor& hidden);

}  // namespace crinn::train
