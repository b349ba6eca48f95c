// SPDX-License-Identifier: Apache-2.0
#include "model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "crinn/base/error.h"

namespace crinn::train {
namespace {

using nlohmann::json;

// Keys that say nothing about the function the network computes.
constexpr std::array<std::string_view, 27> kIgnored{"_name_or_path",
                                                    "architectures",
                                                    "attention_dropout",
                                                    "auto_map",
                                                    "bos_token_id",
                                                    "chunk_size_feed_forward",
                                                    "dtype",
                                                    "eos_token_id",
                                                    "id2label",
                                                    "is_decoder",
                                                    "is_llama_config",
                                                    "label2id",
                                                    "max_window_layers",
                                                    "name_or_path",
                                                    "output_attentions",
                                                    "output_hidden_states",
                                                    "pad_token_id",
                                                    "pretraining_tp",
                                                    "problem_type",
                                                    "return_dict",
                                                    "rope_interleaved",
                                                    "sliding_window",
                                                    "torch_dtype",
                                                    "transformers.js_config",
                                                    "transformers_version",
                                                    "use_cache",
                                                    "unk_token_id"};

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCategory::kUsage, "model config: " + what);
}

/// Takes keys out one by one, so that what is left over is unknown.
class Reader {
 public:
  Reader(json object, std::string prefix) : object_(std::move(object)), prefix_(std::move(prefix)) {
    if (!object_.is_object()) refuse(fmt::format("{} is not a JSON object", name("")));
  }

  bool has(const std::string& key) const {
    return object_.contains(key) && !object_.at(key).is_null();
  }

  json take_json(const std::string& key) {
    if (!has(key)) refuse(fmt::format("missing key {}", name(key)));
    taken_.insert(key);
    return object_.at(key);
  }

  template <class T>
  T take(const std::string& key) {
    const json value = take_json(key);
    bool fits = true;
    if constexpr (std::is_same_v<T, bool>) fits = value.is_boolean();
    if constexpr (std::is_same_v<T, int64_t>) fits = value.is_number_integer();
    if constexpr (std::is_same_v<T, double>) fits = value.is_number();
    if constexpr (std::is_same_v<T, std::string>) fits = value.is_string();
    if (!fits) refuse(fmt::format("{} has the wrong type: {}", name(key), value.dump()));
    return value.get<T>();
  }

  template <class T>
  T take_or(const std::string& key, T fallback) {
    return has(key) ? take<T>(key) : fallback;
  }

  int64_t take_size(const std::string& key) {
    const auto value = take<int64_t>(key);
    if (value <= 0) refuse(fmt::format("{} is {}, but must be positive", name(key), value));
    return value;
  }

  void refuse_the_rest() const {
    for (const auto& [key, value] : object_.items()) {
      const bool known = taken_.contains(key) || value.is_null() ||
                         std::find(kIgnored.begin(), kIgnored.end(), key) != kIgnored.end();
      if (!known) refuse(fmt::format("unknown key {}", name(key)));
    }
  }

 private:
  std::string name(const std::string& key) const { return prefix_ + key; }

  json object_;
  std::string prefix_;
  std::set<std::string> taken_;
};

void read_scaling(Reader& reader, ModelConfig& config) {
  const std::string kind = reader.has("rope_type")
                               ? reader.take<std::string>("rope_type")
                               : reader.take_or<std::string>("type", std::string("default"));
  if (kind == "default") return;
  if (kind != "llama3") refuse(fmt::format("rope_type \"{}\" is not supported", kind));
  RopeScaling scaling;
  scaling.factor = reader.take<double>("factor");
  scaling.low_freq_factor = reader.take<double>("low_freq_factor");
  scaling.high_freq_factor = reader.take<double>("high_freq_factor");
  scaling.original_max_position_embeddings = reader.take_size("original_max_position_embeddings");
  config.rope_scaling = scaling;
}

void read_rope(Reader& reader, ModelConfig& config) {
  config.rope_theta = 10000.0;
  if (reader.has("rope_parameters")) {
    Reader rope(reader.take_json("rope_parameters"), "rope_parameters.");
    config.rope_theta = rope.take<double>("rope_theta");
    read_scaling(rope, config);
    rope.refuse_the_rest();
  }
  if (reader.has("rope_theta")) config.rope_theta = reader.take<double>("rope_theta");
  if (reader.has("rope_scaling")) {
    Reader rope(reader.take_json("rope_scaling"), "rope_scaling.");
    read_scaling(rope, config);
    rope.take_or<double>("rope_theta", 0.0);
    rope.refuse_the_rest();
  }
  if (!(config.rope_theta > 0)) refuse(fmt::format("rope_theta is {}", config.rope_theta));
}

void read_flags(Reader& reader, ModelConfig& config) {
  config.tie_word_embeddings = reader.take_or("tie_word_embeddings", false);
  const bool attention_bias = reader.take_or("attention_bias", false);
  config.qk_norm = config.model_type == "qwen3";
  config.qkv_bias = config.model_type == "qwen2" || attention_bias;
  config.output_bias = config.model_type != "qwen2" && attention_bias;
  config.mlp_bias = reader.take_or("mlp_bias", false);
  if (reader.take_or("use_sliding_window", false)) refuse("use_sliding_window is not supported");
  if (const auto act = reader.take_or<std::string>("hidden_act", "silu"); act != "silu") {
    refuse(fmt::format("hidden_act \"{}\" is not supported", act));
  }
  if (reader.has("layer_types")) {
    for (const json& type : reader.take_json("layer_types")) {
      if (type != "full_attention") {
        refuse(fmt::format("layer_types: {} is not supported", type.dump()));
      }
    }
  }
}

}  // namespace

ModelConfig parse_model_config(const std::string& text) {
  json object = json::parse(text, nullptr, false);
  if (object.is_discarded()) refuse("the text is not JSON");
  Reader reader(std::move(object), "");
  ModelConfig config;
  config.model_type = reader.take<std::string>("model_type");
  if (config.model_type != "qwen3" && config.model_type != "qwen2" &&
      config.model_type != "llama") {
    refuse(fmt::format("model_type \"{}\" is not one of qwen3, qwen2, llama", config.model_type));
  }
  config.vocab_size = reader.take_size("vocab_size");
  config.hidden_size = reader.take_size("hidden_size");
  config.intermediate_size = reader.take_size("intermediate_size");
  config.layers = reader.take_size("num_hidden_layers");
  config.heads = reader.take_size("num_attention_heads");
  config.kv_heads = reader.has("num_key_value_heads") || config.model_type != "llama"
                        ? reader.take_size("num_key_value_heads")
                        : config.heads;
  // Qwen3's width of a head is independent of the hidden size; elsewhere it follows from it.
  config.head_dim = reader.has("head_dim") || config.model_type == "qwen3"
                        ? reader.take_size("head_dim")
                        : config.hidden_size / config.heads;
  if (config.heads % config.kv_heads != 0) {
    refuse(fmt::format("num_attention_heads {} is no multiple of num_key_value_heads {}",
                       config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) refuse(fmt::format("head_dim {} is odd", config.head_dim));
  config.max_position_embeddings =
      reader.has("max_position_embeddings") ? reader.take_size("max_position_embeddings") : 32768;
  config.rms_norm_eps = reader.take_or("rms_norm_eps", 1e-6);
  config.initializer_range = reader.take_or("initializer_range", 0.02);
  read_rope(reader, config);
  read_flags(reader, config);
  reader.refuse_the_rest();
  return config;
}

}  // namespace crinn::train
