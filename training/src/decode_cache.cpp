// SPDX-License-Identifier: Apache-2.0
#include "decode_cache.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace crinn::train {
namespace {

constexpr int64_t kFirstCapacity = 64;

}  // namespace

DecodeCache::DecodeCache(const ModelConfig& config, int64_t prompts)
    : config_(config),
      prompts_(static_cast<std::size_t>(prompts)),
      keys_(static_cast<std::size_t>(config.layers)),
      values_(static_cast<std::size_t>(config.layers)) {}

Attend DecodeCache::prefill(const Packed& packed, int64_t first) {
  return [this, first, &packed, attention = packed_attention(config_, packed)](
             int64_t layer, const at::Tensor& queries, const at::Tensor& keys,
             const at::Tensor& values) {
    for (std::size_t i = 0; i < packed.groups.size(); ++i) {
      const PackedGroup& group = packed.groups[i];
      Prompt& prompt = prompts_[static_cast<std::size_t>(first) + i];
      prompt.keys.push_back(
          keys.narrow(0, group.begin, group.prompt).permute({1, 2, 0}).contiguous());
      prompt.values.push_back(
          values.narrow(0, group.begin, group.prompt).transpose(0, 1).contiguous());
    }
    return attention(layer, queries, keys, values);
  };
}

void DecodeCache::start(std::vector<int64_t> rows_of_prompt) {
  rows_ = 0;
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    prompts_[i].rows = rows_of_prompt[i];
    rows_ += rows_of_prompt[i];
  }
  length_ = 0;
}

void DecodeCache::append(at::Tensor& cache, const at::Tensor& fresh) const {
  if (!cache.defined() || length_ == cache.size(2)) {
    const int64_t capacity = cache.defined() ? 2 * cache.size(2) : kFirstCapacity;
    at::Tensor grown =
        at::empty({rows_, config_.kv_heads, capacity, config_.head_dim}, fresh.options());
    if (cache.defined()) grown.narrow(2, 0, length_).copy_(cache);
    cache = grown;
  }
  cache.select(2, length_).copy_(fresh);
}

Attend DecodeCache::step() {
  return [this](int64_t layer, const at::Tensor& queries, const at::Tensor& keys,
                const at::Tensor& values) {
    append(keys_[static_cast<std::size_t>(layer)], keys);
    append(values_[static_cast<std::size_t>(layer)], values);
    return attend(static_cast<std::size_t>(layer), queries);
  };
}

at::Tensor DecodeCache::attend(std::size_t layer, const at::Tensor& queries) const {
  const int64_t kv = config_.kv_heads;
  const int64_t d = config_.head_dim;
  const int64_t shared = config_.heads / kv;  // query heads of one key head
  const int64_t own = length_ + 1;
  const at::Tensor scaled =
      (queries / std::sqrt(static_cast<double>(d))).view({rows_, kv, shared, d});
  const at::Tensor keys = keys_[layer].narrow(2, 0, own).flatten(0, 1);
  const at::Tensor values = values_[layer].narrow(2, 0, own).flatten(0, 1);
  const at::Tensor own_scores =
      at::bmm(scaled.reshape({rows_ * kv, shared, d}), keys.transpose(1, 2))
          .view({rows_, kv, shared, own});

  // Rows of one prompt share its keys: their queries become one matrix a key head. Probabilities
  // of the rows' own tokens are gathered and multiplied for all rows at once.
  std::vector<at::Tensor> prompt_parts;
  std::vector<at::Tensor> own_weights;
  int64_t begin = 0;
  for (const Prompt& prompt : prompts_) {
    if (prompt.rows == 0) continue;
    const at::Tensor q =
        scaled.narrow(0, begin, prompt.rows).transpose(0, 1).reshape({kv, prompt.rows * shared, d});
    const at::Tensor prompt_scores = at::bmm(q, prompt.keys[layer]);
    const int64_t length = prompt_scores.size(2);
    const at::Tensor scores =
        at::cat({prompt_scores, own_scores.narrow(0, begin, prompt.rows)
                                    .transpose(0, 1)
                                    .reshape({kv, prompt.rows * shared, own})},
                2);
    const at::Tensor weights = at::softmax(scores, 2);
    prompt_parts.push_back(at::bmm(weights.narrow(2, 0, length), prompt.values[layer])
                               .view({kv, prompt.rows, shared, d})
                               .transpose(0, 1));
    own_weights.push_back(
        weights.narrow(2, length, own).view({kv, prompt.rows, shared, own}).transpose(0, 1));
    begin += prompt.rows;
  }
  const at::Tensor own_part =
      at::bmm(at::cat(own_weights).reshape({rows_ * kv, shared, own}), values);
  return at::cat(prompt_parts).reshape({rows_, kv * shared * d}) +
         own_part.view({rows_, kv * shared * d});
}

void DecodeCache::keep(const std::vector<int64_t>& rows) {
  const at::Tensor index = to_tensor(rows);
  for (auto* caches : {&keys_, &values_}) {
    for (at::Tensor& cache : *caches) {
      if (cache.defined()) cache = cache.index_select(0, index);
    }
  }
  int64_t begin = 0;
  for (Prompt& prompt : prompts_) {
    const int64_t end = begin + prompt.rows;
    prompt.rows =
        std::count_if(rows.begin(), rows.end(), [&](int64_t r) { return begin <= r && r < end; });
    begin = end;
  }
  rows_ = static_cast<int64_t>(rows.size());
}

}  // namespace crinn::train
