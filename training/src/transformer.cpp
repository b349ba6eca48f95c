// SPDX-License-Identifier: Apache-2.0
#include "transformer.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/rng.h"

namespace crinn::train {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

std::string layer_prefix(int64_t layer) { return fmt::format("model.layers.{}.", layer); }

void add_linear(Shapes& shapes, const std::string& name, int64_t out, int64_t in, bool bias) {
  shapes[name + ".weight"] = {out, in};
  if (bias) shapes[name + ".bias"] = {out};
}

Shapes parameter_shapes(const ModelConfig& c) {
  Shapes shapes;
  shapes["model.embed_tokens.weight"] = {c.vocab_size, c.hidden_size};
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    const std::string attention = prefix + "self_attn.";
    shapes[prefix + "input_layernorm.weight"] = {c.hidden_size};
    shapes[prefix + "post_attention_layernorm.weight"] = {c.hidden_size};
    add_linear(shapes, attention + "q_proj", c.heads * c.head_dim, c.hidden_size, c.qkv_bias);
    add_linear(shapes, attention + "k_proj", c.kv_heads * c.head_dim, c.hidden_size, c.qkv_bias);
    add_linear(shapes, attention + "v_proj", c.kv_heads * c.head_dim, c.hidden_size, c.qkv_bias);
    add_linear(shapes, attention + "o_proj", c.hidden_size, c.heads * c.head_dim, c.output_bias);
    if (c.qk_norm) {
      shapes[attention + "q_norm.weight"] = {c.head_dim};
      shapes[attention + "k_norm.weight"] = {c.head_dim};
    }
    add_linear(shapes, prefix + "mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
    add_linear(shapes, prefix + "mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
    add_linear(shapes, prefix + "mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
  }
  shapes["model.norm.weight"] = {c.hidden_size};
  if (!c.tie_word_embeddings) shapes["lm_head.weight"] = {c.vocab_size, c.hidden_size};
  return shapes;
}

uint64_t stream_of(const std::string& name) {
  uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return hash;
}

at::Tensor initial_tensor(const ModelConfig& config, const std::string& name,
                          const std::vector<int64_t>& shape, uint64_t seed) {
  if (name.ends_with(".bias")) return at::zeros(shape, at::kDouble);
  if (shape.size() == 1) return at::ones(shape, at::kDouble);
  at::Tensor tensor = at::empty(shape, at::kDouble);
  Rng rng(mix_seed(seed, stream_of(name)));
  auto* data = tensor.data_ptr<double>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = config.initializer_range * rng.normal();
  return tensor;
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x * (x * x).mean(-1, true).add_(eps).rsqrt() * weight;
}

// Llama 3.1, appendix of the model card: long wavelengths are slowed down by `factor`, short ones
// kept, those between blended linearly.
double scaled_frequency(double frequency, const RopeScaling& s) {
  const double turns =
      static_cast<double>(s.original_max_position_embeddings) * frequency / (2 * std::numbers::pi);
  if (turns > s.high_freq_factor) return frequency;
  if (turns < s.low_freq_factor) return frequency / s.factor;
  const double blend = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - blend) * frequency / s.factor + blend * frequency;
}

// cos and sin of every token's rotary angles, each [N, 1, head_dim / 2].
std::pair<at::Tensor, at::Tensor> rotary_table(const ModelConfig& config,
                                               const at::Tensor& positions, at::ScalarType dtype) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < config.head_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(config.head_dim);
    const double frequency = std::pow(config.rope_theta, -exponent);
    frequencies.push_back(config.rope_scaling ? scaled_frequency(frequency, *config.rope_scaling)
                                              : frequency);
  }
  const at::Tensor angles = positions.to(at::kDouble).unsqueeze(1).unsqueeze(2) *
                            to_tensor(frequencies, at::kDouble).to(positions.device());
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

// Rotates the pairs (x[i], x[i + head_dim / 2]).
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor a = x.narrow(-1, 0, half);
  const at::Tensor b = x.narrow(-1, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, -1);
}

}  // namespace

at::Tensor to_tensor(const std::vector<int64_t>& values) {
  return at::tensor(at::IntArrayRef(values), at::kLong);
}

at::Tensor to_tensor(const std::vector<int32_t>& values) {
  return to_tensor(std::vector<int64_t>(values.begin(), values.end()));
}

at::Tensor to_tensor(const std::vector<double>& values, at::ScalarType dtype) {
  return at::tensor(at::ArrayRef<double>(values), dtype);
}

TensorMap initial_parameters(const ModelConfig& config, uint64_t seed, at::ScalarType dtype) {
  TensorMap parameters;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    parameters[name] = initial_tensor(config, name, shape, seed).to(dtype);
  }
  return parameters;
}

void check_parameters(const ModelConfig& config, const TensorMap& parameters,
                      const std::string& source) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCategory::kData, fmt::format("load {}: {}", source, what));
  };
  const Shapes shapes = parameter_shapes(config);
  for (const auto& [name, shape] : shapes) {
    const auto found = parameters.find(name);
    if (found == parameters.end()) refuse(fmt::format("missing parameter {}", name));
    if (found->second.sizes() != at::IntArrayRef(shape)) {
      refuse(fmt::format("parameter {} has shape [{}], but the config says [{}]", name,
                         fmt::join(found->second.sizes(), ", "), fmt::join(shape, ", ")));
    }
  }
  for (const auto& [name, tensor] : parameters) {
    if (!shapes.contains(name)) refuse(fmt::format("unknown parameter {}", name));
  }
}

Weights fuse(const ModelConfig& config, const TensorMap& parameters) {
  const auto get = [&](const std::string& name) { return parameters.at(name); };
  const auto bias = [&](bool present, std::vector<std::string> names) {
    std::vector<at::Tensor> parts;
    for (const std::string& name : names) {
      if (present) parts.push_back(get(name + ".bias"));
    }
    return present ? at::cat(parts) : at::Tensor();
  };
  Weights weights;
  weights.embedding = get("model.embed_tokens.weight");
  weights.final_norm = get("model.norm.weight");
  weights.head = config.tie_word_embeddings ? weights.embedding : get("lm_head.weight");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = layer_prefix(layer);
    const std::string attention = prefix + "self_attn.";
    const std::string mlp = prefix + "mlp.";
    LayerWeights& w = weights.layers.emplace_back();
    w.input_norm = get(prefix + "input_layernorm.weight");
    w.qkv = at::cat({get(attention + "q_proj.weight"), get(attention + "k_proj.weight"),
                     get(attention + "v_proj.weight")});
    w.qkv_bias =
        bias(config.qkv_bias, {attention + "q_proj", attention + "k_proj", attention + "v_proj"});
    if (config.qk_norm) {
      w.qk_norm =
          at::cat({get(attention + "q_norm.weight").expand({config.heads, config.head_dim}),
                   get(attention + "k_norm.weight").expand({config.kv_heads, config.head_dim})});
    }
    w.output = get(attention + "o_proj.weight");
    w.output_bias = bias(config.output_bias, {attention + "o_proj"});
    w.mlp_norm = get(prefix + "post_attention_layernorm.weight");
    w.gate_up = at::cat({get(mlp + "gate_proj.weight"), get(mlp + "up_proj.weight")});
    w.gate_up_bias = bias(config.mlp_bias, {mlp + "gate_proj", mlp + "up_proj"});
    w.down = get(mlp + "down_proj.weight");
    w.down_bias = bias(config.mlp_bias, {mlp + "down_proj"});
  }
  return weights;
}

at::Tensor hidden_states(const ModelConfig& config, const Weights& weights,
                         const at::Tensor& tokens, const at::Tensor& positions,
                         const Attend& attend) {
  const int64_t n = tokens.size(0);
  const int64_t query_key_heads = config.heads + config.kv_heads;
  const auto linear = [](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
  };
  const auto [cos, sin] = rotary_table(config, positions, weights.embedding.scalar_type());
  at::Tensor x = at::embedding(weights.embedding, tokens);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const LayerWeights& w = weights.layers[static_cast<std::size_t>(layer)];
    const at::Tensor normed = rms_norm(x, w.input_norm, config.rms_norm_eps);
    const at::Tensor qkv = linear(normed, w.qkv, w.qkv_bias)
                               .view({n, query_key_heads + config.kv_heads, config.head_dim});
    at::Tensor qk = qkv.narrow(1, 0, query_key_heads);
    if (config.qk_norm) qk = rms_norm(qk, w.qk_norm, config.rms_norm_eps);
    qk = rotate(qk, cos, sin);
    const at::Tensor mixed =
        attend(layer, qk.narrow(1, 0, config.heads), qk.narrow(1, config.heads, config.kv_heads),
               qkv.narrow(1, query_key_heads, config.kv_heads));
    x = x + linear(mixed, w.output, w.output_bias);

    const at::Tensor gate_up =
        linear(rms_norm(x, w.mlp_norm, config.rms_norm_eps), w.gate_up, w.gate_up_bias);
    const at::Tensor gate = gate_up.narrow(1, 0, config.intermediate_size);
    const at::Tensor up = gate_up.narrow(1, config.intermediate_size, config.intermediate_size);
    x = x + linear(at::silu(gate) * up, w.down, w.down_bias);
  }
  return rms_norm(x, weights.final_norm, config.rms_norm_eps);
}

at::Tensor logits(const Weights& weights, const at::Tensor& hidden) {
  return at::linear(hidden, weights.head);
}

}  // namespace crinn::train
