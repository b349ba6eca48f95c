// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace crinn::train {

/// Llama 3.1's stretching of the low rotary frequencies ("rope_type": "llama3").
struct RopeScaling {
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_position_embeddings = 8192;
  bool operator==(const RopeScaling&) const = default;
};

/// The shape of a decoder-only transformer. The three families differ by flags only.
struct ModelConfig {
  std::string model_type;  ///< "qwen3", "qwen2" or "llama"
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0;
  int64_t layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rope_theta = 0, rms_norm_eps = 0, initializer_range = 0;
  std::optional<RopeScaling> rope_scaling;
  bool tie_word_embeddings = false;
  bool qk_norm = false;      ///< RMSNorm of every query and key head (Qwen3)
  bool qkv_bias = false;     ///< Qwen2, and attention_bias elsewhere
  bool output_bias = false;  ///< attention_bias of Llama and Qwen3
  bool mlp_bias = false;     ///< Llama
  bool operator==(const ModelConfig&) const = default;
};

/// Reads the text of a Hugging Face config.json, old spelling (rope_theta, torch_dtype) and new
/// (rope_parameters, dtype). Throws Error (usage) that names the key.
ModelConfig parse_model_config(const std::string& text);

}  // namespace crinn::train
