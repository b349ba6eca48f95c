// SPDX-License-Identifier: Apache-2.0
#include "micro_batch.h"

#include <map>
#include <utility>

namespace crinn::train {
namespace {

/// Fills one micro-batch after the other.
class Builder {
 public:
  Builder(const ModelConfig& config, const RoleMatcher& matcher, int64_t max_tokens)
      : config_(config), matcher_(matcher), max_tokens_(max_tokens) {}

  void add(const Trajectory& trajectory, double weight) {
    const std::vector<int32_t>& completion = trajectory.completion.tokens;
    check_sequence(config_, trajectory.prompt, completion, 0);
    const auto needed = static_cast<int64_t>(completion.size()) - 1;
    const auto prompt = static_cast<int64_t>(trajectory.prompt.size());
    bool shares = prompt_ != nullptr && *prompt_ == trajectory.prompt;
    const auto used = static_cast<int64_t>(current_.packed.tokens.size());
    if (used > 0 && used + needed + (shares ? 0 : prompt) > max_tokens_) {
      finish();
      shares = false;
    }
    if (!shares) {
      current_.packed.add_prompt(trajectory.prompt);
      prompt_ = &trajectory.prompt;
    }
    current_.packed.add_completion(completion);
    current_.lengths.push_back(static_cast<int64_t>(completion.size()));
    current_.targets.insert(current_.targets.end(), completion.begin(), completion.end());
    const std::vector<float>& behaviour = trajectory.completion.log_probs;
    current_.behaviour.insert(current_.behaviour.end(), behaviour.begin(), behaviour.end());
    current_.advantage.insert(current_.advantage.end(), completion.size(), trajectory.advantage);
    current_.weight.insert(current_.weight.end(), completion.size(), weight);
    allow(trajectory);
  }

  std::vector<MicroBatch> take() {
    if (!current_.lengths.empty()) finish();
    return std::move(done_);
  }

 private:
  // A row of ones for every token without a matcher, but none at all until a matcher is met: masks
  // of a large vocabulary are large.
  void allow(const Trajectory& trajectory) {
    const auto matcher = matcher_ ? matcher_(trajectory.role) : nullptr;
    masked_ |= matcher != nullptr;
    if (!masked_) return;
    const auto width = static_cast<std::size_t>(config_.vocab_size);
    const std::size_t before = current_.targets.size() - trajectory.completion.tokens.size();
    allowed_.resize(before * width, 1);
    if (matcher) {
      append_allowed(*matcher, trajectory.completion.tokens, config_.vocab_size, allowed_);
    }
    allowed_.resize(current_.targets.size() * width, 1);
  }

  void finish() {
    if (masked_) {
      const auto tokens = static_cast<int64_t>(current_.targets.size());
      current_.allowed =
          at::from_blob(allowed_.data(), {tokens, config_.vocab_size}, at::kBool).clone();
    }
    done_.push_back(std::move(current_));
    current_ = {};
    allowed_.clear();
    masked_ = false;
    prompt_ = nullptr;
  }

  const ModelConfig& config_;
  const RoleMatcher& matcher_;
  int64_t max_tokens_;
  std::vector<MicroBatch> done_;
  MicroBatch current_;
  std::vector<uint8_t> allowed_;
  bool masked_ = false;
  const std::vector<int32_t>* prompt_ = nullptr;  ///< the one added last to current_
};

}  // namespace

std::vector<MicroBatch> make_micro_batches(const ModelConfig& config,
                                           std::span<const Trajectory* const> trajectories,
                                           std::span<const double> weights,
                                           const RoleMatcher& matcher, int64_t max_tokens) {
  // Equal prompts become neighbours; prompts keep the order in which they first appear.
  std::map<std::vector<int32_t>, std::size_t> group_of;
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < trajectories.size(); ++i) {
    const auto [found, fresh] = group_of.try_emplace(trajectories[i]->prompt, groups.size());
    if (fresh) groups.emplace_back();
    groups[found->second].push_back(i);
  }
  Builder builder(config, matcher, max_tokens);
  for (const auto& group : groups) {
    for (const std::size_t i : group) builder.add(*trajectories[i], weights[i]);
  }
  return builder.take();
}

TokenScores score_tokens(const ModelConfig& config, const TensorMap& parameters,
                         const MicroBatch& batch, double temperature, bool differentiable_entropy) {
  const Weights weights = fuse(config, parameters);
  const at::Tensor hidden = packed_hidden_states(config, weights, batch.packed)
                                .index_select(0, to_tensor(batch.packed.predicting_rows));
  const at::Tensor all = masked_log_softmax(logits(weights, hidden), batch.allowed, temperature);
  TokenScores scores;
  scores.log_probs = all.gather(1, to_tensor(batch.targets).unsqueeze(1)).squeeze(1);
  // 0 log 0 = 0, where the machine's 0 * -inf is NaN.
  const at::Tensor held = differentiable_entropy ? all : all.detach();
  const at::Tensor finite =
      batch.allowed.defined() ? held.masked_fill(batch.allowed.logical_not(), 0.0) : held;
  scores.entropy = -(held.exp() * finite).sum(1);
  return scores;
}

}  // namespace crinn::train
