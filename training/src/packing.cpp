// SPDX-License-Identifier: Apache-2.0
#include "packing.h"

#include <fmt/format.h>

#include <limits>
#include <memory>
#include <utility>

#include "crinn/base/error.h"

namespace crinn::train {
namespace {

// [queries, keys] of zeros and -inf; the queries are the last of the keys. is_causal would align
// them with the first ones.
at::Tensor causal_mask(int64_t queries, int64_t keys, const at::TensorOptions& options) {
  return at::zeros({queries, keys}, options)
      .masked_fill_(at::ones({queries, keys}, options.dtype(at::kBool)).triu_(keys - queries + 1),
                    -std::numeric_limits<double>::infinity());
}

// [length, heads, head_dim] -> [1, heads, length, head_dim]
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

at::Tensor attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                     const at::Tensor& mask) {
  const at::Tensor mixed = at::scaled_dot_product_attention(
      heads_first(queries), heads_first(keys), heads_first(values),
      mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, 0.0, !mask.defined());
  return mixed.squeeze(0).transpose(0, 1);
}

// Every query head's own copy of its key head: [N, kv_heads, D] -> [N, heads, D].
at::Tensor repeat_heads(const at::Tensor& x, int64_t heads) {
  const int64_t times = heads / x.size(1);
  if (times == 1) return x;
  return x.unsqueeze(2).expand({-1, -1, times, -1}).reshape({x.size(0), heads, x.size(2)});
}

}  // namespace

void Packed::add_prompt(std::span<const int32_t> prompt) {
  PackedGroup& group = groups.emplace_back();
  group.begin = static_cast<int64_t>(tokens.size());
  group.prompt = static_cast<int64_t>(prompt.size());
  tokens.insert(tokens.end(), prompt.begin(), prompt.end());
  for (int64_t i = 0; i < group.prompt; ++i) positions.push_back(i);
}

void Packed::add_completion(std::span<const int32_t> completion) {
  PackedGroup& group = groups.back();
  const auto inputs = static_cast<int64_t>(completion.size()) - 1;
  predicting_rows.push_back(group.begin + group.prompt - 1);
  for (int64_t i = 0; i < inputs; ++i) {
    predicting_rows.push_back(static_cast<int64_t>(tokens.size()));
    tokens.push_back(completion[static_cast<std::size_t>(i)]);
    positions.push_back(group.prompt + i);
  }
  group.completions.push_back(inputs);
}

Attend packed_attention(const ModelConfig& config, const Packed& packed) {
  auto masks = std::make_shared<std::map<std::pair<int64_t, int64_t>, at::Tensor>>();
  const int64_t heads = config.heads;
  return [heads, &packed, masks](int64_t, const at::Tensor& queries, const at::Tensor& grouped_keys,
                                 const at::Tensor& grouped_values) {
    const at::Tensor keys = repeat_heads(grouped_keys, heads);
    const at::Tensor values = repeat_heads(grouped_values, heads);
    std::vector<at::Tensor> pieces;
    for (const PackedGroup& group : packed.groups) {
      const at::Tensor prompt_keys = keys.narrow(0, group.begin, group.prompt);
      const at::Tensor prompt_values = values.narrow(0, group.begin, group.prompt);
      pieces.push_back(
          attention(queries.narrow(0, group.begin, group.prompt), prompt_keys, prompt_values, {}));
      int64_t begin = group.begin + group.prompt;
      for (const int64_t length : group.completions) {
        if (length == 0) continue;
        at::Tensor& mask = (*masks)[{length, group.prompt + length}];
        if (!mask.defined()) {
          mask = causal_mask(length, group.prompt + length, queries.options());
        }
        pieces.push_back(attention(
            queries.narrow(0, begin, length), at::cat({prompt_keys, keys.narrow(0, begin, length)}),
            at::cat({prompt_values, values.narrow(0, begin, length)}), mask));
        begin += length;
      }
    }
    return at::cat(pieces).flatten(1);
  };
}

at::Tensor packed_hidden_states(const ModelConfig& config, const Weights& weights,
                                const Packed& packed) {
  return hidden_states(config, weights, to_tensor(packed.tokens), to_tensor(packed.positions),
                       packed_attention(config, packed));
}

void append_allowed(TokenMatcher& matcher, std::span<const int32_t> completion, int64_t vocabulary,
                    std::vector<uint8_t>& rows) {
  const auto width = static_cast<std::size_t>(vocabulary);
  for (std::size_t i = 0; i < completion.size(); ++i) {
    rows.resize(rows.size() + width, 0);
    const std::span<uint8_t> row = std::span(rows).last(width);
    matcher.allowed(row);
    if (!row[static_cast<std::size_t>(completion[i])]) {
      throw Error(ErrorCategory::kData,
                  fmt::format("log_probs: token {} at position {} of a completion is not allowed",
                              completion[i], i));
    }
    matcher.advance(completion[i]);
  }
}

at::Tensor masked_log_softmax(const at::Tensor& logits, const at::Tensor& allowed,
                              double temperature) {
  at::Tensor tempered = temperature == 1.0 ? logits : logits / temperature;
  if (allowed.defined()) {
    tempered =
        tempered.masked_fill(allowed.logical_not(), -std::numeric_limits<double>::infinity());
  }
  return at::log_softmax(tempered, -1);
}

void check_sequence(const ModelConfig& config, std::span<const int32_t> prompt,
                    std::span<const int32_t> completion, int64_t max_new_tokens) {
  if (prompt.empty()) throw Error(ErrorCategory::kUsage, "policy: an empty prompt");
  for (const auto part : {prompt, completion}) {
    for (const int32_t token : part) {
      if (token < 0 || token >= config.vocab_size) {
        throw Error(ErrorCategory::kData,
                    fmt::format("policy: token {} is outside of the vocabulary of {}", token,
                                config.vocab_size));
      }
    }
  }
  const int64_t length = static_cast<int64_t>(prompt.size() + completion.size()) + max_new_tokens;
  if (length > config.max_position_embeddings) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("policy: {} tokens exceed max_position_embeddings {}", length,
                            config.max_position_embeddings));
  }
}

}  // namespace crinn::train
