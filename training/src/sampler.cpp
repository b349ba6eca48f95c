// SPDX-License-Identifier: Apache-2.0
#include "sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "decode_cache.h"
#include "packing.h"

namespace crinn::train {
namespace {

constexpr int64_t kPrefillTokens = 8192;

struct Sequence {
  int64_t index = 0;  ///< prompt-major, the caller's
  int64_t prompt_length = 0;
  std::unique_ptr<TokenMatcher> matcher;
  bool active = true;
};

// The logits that predict the first token of a completion, [prompts, vocabulary].
at::Tensor prefill(const ModelConfig& config, const Weights& weights, DecodeCache& cache,
                   const std::vector<const std::vector<int32_t>*>& prompts) {
  std::vector<at::Tensor> last;
  for (std::size_t first = 0; first < prompts.size();) {
    Packed packed;
    std::vector<int64_t> rows;
    std::size_t next = first;
    while (next < prompts.size() &&
           (next == first ||
            static_cast<int64_t>(packed.tokens.size() + prompts[next]->size()) <= kPrefillTokens)) {
      packed.add_prompt(*prompts[next++]);
      rows.push_back(static_cast<int64_t>(packed.tokens.size()) - 1);
    }
    const at::Tensor hidden =
        hidden_states(config, weights, to_tensor(packed.tokens), to_tensor(packed.positions),
                      cache.prefill(packed, static_cast<int64_t>(first)));
    last.push_back(hidden.index_select(0, to_tensor(rows)));
    first = next;
  }
  return logits(weights, at::cat(last));
}

/// Completions that grow in lock-step.
class Batch {
 public:
  Batch(const ModelConfig& config, int max_new_tokens, int32_t end_token,
        const SamplingOptions& options, std::vector<Completion>& completions)
      : vocabulary_(config.vocab_size),
        max_new_tokens_(max_new_tokens),
        end_token_(end_token),
        options_(options),
        completions_(completions),
        allowed_(static_cast<std::size_t>(config.vocab_size)) {}

  void add(Sequence sequence) { rows_.push_back(std::move(sequence)); }
  std::size_t rows() const { return rows_.size(); }
  std::size_t active() const {
    return static_cast<std::size_t>(
        std::count_if(rows_.begin(), rows_.end(), [](const Sequence& s) { return s.active; }));
  }

  /// Draws every active row's next token from logits [rows, vocabulary].
  void draw_all(const at::Tensor& logits) {
    const at::Tensor host = logits.to(at::kCPU, at::kFloat).contiguous();
    const auto* data = host.data_ptr<float>();
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      if (!rows_[row].active) continue;
      draw_one(rows_[row], {data + static_cast<int64_t>(row) * vocabulary_,
                            static_cast<std::size_t>(vocabulary_)});
    }
  }

  std::vector<int64_t> active_rows() const {
    std::vector<int64_t> result;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      if (rows_[row].active) result.push_back(static_cast<int64_t>(row));
    }
    return result;
  }
  void compact() {
    std::erase_if(rows_, [](const Sequence& s) { return !s.active; });
  }

  /// The tokens drawn last and their positions; a row that has ended repeats its last token, and
  /// what comes of it is ignored.
  std::pair<std::vector<int32_t>, std::vector<int64_t>> inputs(int64_t step) const {
    std::pair<std::vector<int32_t>, std::vector<int64_t>> result;
    for (const Sequence& row : rows_) {
      result.first.push_back(completions_[static_cast<std::size_t>(row.index)].tokens.back());
      result.second.push_back(row.prompt_length + step);
    }
    return result;
  }

 private:
  void draw_one(Sequence& sequence, std::span<const float> logits) {
    Completion& completion = completions_[static_cast<std::size_t>(sequence.index)];
    const auto position = static_cast<int64_t>(completion.tokens.size());
    std::span<uint8_t> allowed;
    if (sequence.matcher) {
      allowed = allowed_;
      std::fill(allowed.begin(), allowed.end(), uint8_t{0});
      sequence.matcher->allowed(allowed);
    }
    const Drawn drawn = draw(logits, allowed, options_.temperature,
                             draw_uniform(options_.seed, sequence.index, position));
    if (drawn.token < 0) {
      throw Error(ErrorCategory::kData,
                  fmt::format("sample: no token can be drawn at position {} of sequence {}: none "
                              "is allowed, or the logits are not finite",
                              position, sequence.index));
    }
    completion.tokens.push_back(drawn.token);
    completion.log_probs.push_back(drawn.log_prob);
    if (sequence.matcher) sequence.matcher->advance(drawn.token);
    completion.finished =
        drawn.token == end_token_ || (sequence.matcher && sequence.matcher->finished());
    sequence.active = !completion.finished && position + 1 < max_new_tokens_;
  }

  int64_t vocabulary_;
  int max_new_tokens_;
  int32_t end_token_;
  const SamplingOptions& options_;
  std::vector<Completion>& completions_;
  std::vector<uint8_t> allowed_;
  std::vector<Sequence> rows_;
};

}  // namespace

Drawn draw(std::span<const float> logits, std::span<const uint8_t> allowed, double temperature,
           double u) {
  double largest = -std::numeric_limits<double>::infinity();
  const auto usable = [&](std::size_t t) { return allowed.empty() || allowed[t]; };
  for (std::size_t t = 0; t < logits.size(); ++t) {
    if (usable(t)) largest = std::max(largest, static_cast<double>(logits[t]));
  }
  if (!std::isfinite(largest)) return {};
  const auto weight = [&](std::size_t t) {
    return std::exp((static_cast<double>(logits[t]) - largest) / temperature);
  };
  double total = 0;
  for (std::size_t t = 0; t < logits.size(); ++t) {
    if (usable(t)) total += weight(t);
  }
  if (!std::isfinite(total)) return {};
  Drawn drawn;
  double cumulative = 0;
  for (std::size_t t = 0; t < logits.size() && cumulative <= u * total; ++t) {
    if (!usable(t) || weight(t) == 0) continue;
    cumulative += weight(t);
    drawn.token = static_cast<int32_t>(t);
  }
  const auto chosen = static_cast<double>(logits[static_cast<std::size_t>(drawn.token)]);
  drawn.log_prob = static_cast<float>((chosen - largest) / temperature - std::log(total));
  return drawn;
}

double draw_uniform(uint64_t seed, int64_t sequence, int64_t position) {
  const uint64_t stream = mix_seed(seed, static_cast<uint64_t>(sequence));
  const uint64_t bits = split_mix64(mix_seed(stream, static_cast<uint64_t>(position)));
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

std::vector<Completion> sample_completions(const ModelConfig& config, const TensorMap& parameters,
                                           std::span<const std::vector<int32_t>> prompts, int n,
                                           int max_new_tokens, int32_t end_token,
                                           const SequenceMatcher& matcher,
                                           const SamplingOptions& options) {
  if (!(options.temperature > 0)) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("sample: temperature {} is not positive", options.temperature));
  }
  std::vector<Completion> completions(prompts.size() * static_cast<std::size_t>(std::max(n, 0)));
  if (completions.empty() || max_new_tokens < 1) return completions;

  // Equal prompts become one, whose completions are neighbours in the batch.
  std::map<std::vector<int32_t>, std::vector<std::size_t>> askers;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    check_sequence(config, prompts[i], {}, max_new_tokens);
    askers[prompts[i]].push_back(i);
  }
  Batch batch(config, max_new_tokens, end_token, options, completions);
  std::vector<const std::vector<int32_t>*> distinct;
  std::vector<int64_t> rows_of_prompt;
  std::vector<int64_t> prompt_of_row;
  for (const auto& [prompt, members] : askers) {
    const std::size_t rows = members.size() * static_cast<std::size_t>(n);
    prompt_of_row.insert(prompt_of_row.end(), rows, static_cast<int64_t>(distinct.size()));
    rows_of_prompt.push_back(static_cast<int64_t>(rows));
    distinct.push_back(&prompt);
    for (const std::size_t member : members) {
      for (int i = 0; i < n; ++i) {
        const int64_t index = static_cast<int64_t>(member) * n + i;
        batch.add({index, static_cast<int64_t>(prompt.size()), matcher ? matcher(index) : nullptr});
      }
    }
  }

  const c10::InferenceMode inference;
  const Weights weights = fuse(config, parameters);
  DecodeCache cache(config, static_cast<int64_t>(distinct.size()));
  at::Tensor next =
      prefill(config, weights, cache, distinct).index_select(0, to_tensor(prompt_of_row));
  cache.start(rows_of_prompt);
  for (int64_t step = 0;; ++step) {
    batch.draw_all(next);
    const std::size_t active = batch.active();
    if (active == 0) break;
    // Copying the cache costs about as much as a few idle rows, so wait for an eighth of them.
    if ((batch.rows() - active) * 8 >= batch.rows()) {
      cache.keep(batch.active_rows());
      batch.compact();
    }
    const auto [tokens, positions] = batch.inputs(step);
    next = logits(weights, hidden_states(config, weights, to_tensor(tokens), to_tensor(positions),
                                         cache.step()));
    cache.advance();
  }
  return completions;
}

}  // namespace crinn::train
