// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model_config.h"

namespace crinn::train {

/// The transformer written a second time, in plain loops in double, from the published formulas.
/// `parameter(name)` gives a tensor's values, row-major.
class NaiveTransformer {
 public:
  using Row = std::vector<double>;
  using Parameter = std::function<Row(const std::string&)>;

  NaiveTransformer(ModelConfig config, Parameter parameter)
      : c_(std::move(config)), parameter_(std::move(parameter)) {}

  /// Logits at every position of one sequence.
  std::vector<Row> logits(const std::vector<int32_t>& tokens) const {
    const Row embedding = parameter_("model.embed_tokens.weight");
    std::vector<Row> x;
    for (const int32_t token : tokens) {
      const auto begin = embedding.begin() + token * c_.hidden_size;
      x.emplace_back(begin, begin + c_.hidden_size);
    }
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      attention(prefix, x);
      mlp(prefix, x);
    }
    std::vector<Row> result;
    const Row head = c_.tie_word_embeddings ? embedding : parameter_("lm_head.weight");
    for (const Row& row : x) {
      result.push_back(multiply(head, norm(row, parameter_("model.norm.weight"))));
    }
    return result;
  }

 private:
  static Row multiply(const Row& matrix, const Row& x) {
    Row y(matrix.size() / x.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      for (std::size_t j = 0; j < x.size(); ++j) y[i] += matrix[i * x.size() + j] * x[j];
    }
    return y;
  }

  Row linear(const std::string& name, bool bias, const Row& x) const {
    Row y = multiply(parameter_(name + ".weight"), x);
    if (bias) {
      const Row b = parameter_(name + ".bias");
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += b[i];
    }
    return y;
  }

  Row norm(const Row& x, const Row& weight) const {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + c_.rms_norm_eps);
    Row y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
    return y;
  }

  // Head `head` of a projection, normed where the family does that.
  Row head_of(const Row& all, int64_t head, const std::string& norm_name) const {
    const auto begin = all.begin() + head * c_.head_dim;
    const Row x(begin, begin + c_.head_dim);
    return norm_name.empty() || !c_.qk_norm ? x : norm(x, parameter_(norm_name));
  }

  Row rotated(const Row& x, std::size_t position) const {
    Row y(x.size());
    const std::size_t half = x.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(x.size());
      const double angle = static_cast<double>(position) * std::pow(c_.rope_theta, exponent);
      y[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
      y[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
    }
    return y;
  }

  static Row mix(const Row& query, const std::vector<Row>& keys, const std::vector<Row>& values,
                 std::size_t visible) {
    Row weights(visible);
    double total = 0;
    for (std::size_t t = 0; t < visible; ++t) {
      double score = 0;
      for (std::size_t i = 0; i < query.size(); ++i) score += query[i] * keys[t][i];
      total += weights[t] = std::exp(score / std::sqrt(static_cast<double>(query.size())));
    }
    Row result(query.size());
    for (std::size_t t = 0; t < visible; ++t) {
      for (std::size_t i = 0; i < query.size(); ++i) result[i] += weights[t] / total * values[t][i];
    }
    return result;
  }

  void attention(const std::string& prefix, std::vector<Row>& x) const {
    const std::string name = prefix + "self_attn.";
    std::vector<Row> queries, mixed(x.size());
    std::vector<std::vector<Row>> keys(static_cast<std::size_t>(c_.kv_heads));
    std::vector<std::vector<Row>> values = keys;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const Row h = norm(x[t], parameter_(prefix + "input_layernorm.weight"));
      queries.push_back(linear(name + "q_proj", c_.qkv_bias, h));
      const Row k = linear(name + "k_proj", c_.qkv_bias, h);
      const Row v = linear(name + "v_proj", c_.qkv_bias, h);
      for (int64_t head = 0; head < c_.kv_heads; ++head) {
        const auto i = static_cast<std::size_t>(head);
        keys[i].push_back(rotated(head_of(k, head, name + "k_norm.weight"), t));
        values[i].push_back(head_of(v, head, ""));
      }
    }
    for (int64_t head = 0; head < c_.heads; ++head) {
      const auto shared = static_cast<std::size_t>(head / (c_.heads / c_.kv_heads));
      for (std::size_t t = 0; t < x.size(); ++t) {
        const Row q = rotated(head_of(queries[t], head, name + "q_norm.weight"), t);
        const Row m = mix(q, keys[shared], values[shared], t + 1);
        mixed[t].insert(mixed[t].end(), m.begin(), m.end());
      }
    }
    for (std::size_t t = 0; t < x.size(); ++t) {
      add(x[t], linear(name + "o_proj", c_.output_bias, mixed[t]));
    }
  }

  void mlp(const std::string& prefix, std::vector<Row>& x) const {
    for (Row& row : x) {
      const Row h = norm(row, parameter_(prefix + "post_attention_layernorm.weight"));
      Row gate = linear(prefix + "mlp.gate_proj", c_.mlp_bias, h);
      const Row up = linear(prefix + "mlp.up_proj", c_.mlp_bias, h);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      add(row, linear(prefix + "mlp.down_proj", c_.mlp_bias, gate));
    }
  }

  static void add(Row& x, const Row& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  ModelConfig c_;
  Parameter parameter_;
};

}  // namespace crinn::train
