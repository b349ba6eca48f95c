// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/policy.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <utility>

#include "adamw.h"
#include "checkpoint.h"
#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "grpo_loss.h"
#include "micro_batch.h"
#include "model_config.h"
#include "sampler.h"
#include "transformer.h"

namespace crinn::train {
namespace {

void use_one_thread() {
  static std::once_flag once;
  std::call_once(once, [] {
    at::set_num_threads(1);
    at::set_num_interop_threads(1);
  });
}

TensorMap trainable(TensorMap parameters) {
  for (auto& [name, parameter] : parameters) parameter.set_requires_grad(true);
  return parameters;
}

TensorMap copies(const TensorMap& parameters) {
  TensorMap result;
  for (const auto& [name, parameter] : parameters) result[name] = parameter.detach().clone();
  return result;
}

void clear_gradients(TensorMap& parameters) {
  for (auto& [name, parameter] : parameters) parameter.mutable_grad().reset();
}

void check_options(const UpdateOptions& o, bool has_reference) {
  const auto refuse = [](const char* name, double value) {
    throw Error(ErrorCategory::kUsage, fmt::format("update: {} is {}", name, value));
  };
  if (!(o.temperature > 0)) refuse("temperature", o.temperature);
  if (!(o.learning_rate >= 0)) refuse("learning_rate", o.learning_rate);
  if (!(o.epsilon_low >= 0 && o.epsilon_low <= 1)) refuse("epsilon_low", o.epsilon_low);
  if (!(o.epsilon_high >= 0)) refuse("epsilon_high", o.epsilon_high);
  if (!(o.beta >= 0)) refuse("beta", o.beta);
  if (o.epochs < 1) refuse("epochs", o.epochs);
  if (o.beta > 0 && !has_reference) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("update: beta is {}, but set_reference() was never called", o.beta));
  }
}

// Finished completions with at least one token.
std::vector<const Trajectory*> learnable(std::span<const Trajectory> batch) {
  std::vector<const Trajectory*> result;
  for (const Trajectory& trajectory : batch) {
    const Completion& completion = trajectory.completion;
    if (completion.log_probs.size() != completion.tokens.size()) {
      throw Error(ErrorCategory::kUsage,
                  fmt::format("update: a completion of {} tokens has {} log_probs",
                              completion.tokens.size(), completion.log_probs.size()));
    }
    if (completion.finished && !completion.tokens.empty()) result.push_back(&trajectory);
  }
  return result;
}

}  // namespace

struct Policy::Impl {
  Impl(std::string text, uint64_t seed)
      : config_json(std::move(text)),
        config(parse_model_config(config_json)),
        parameters(trainable(initial_parameters(config, seed))),
        optimizer(parameters) {}

  LossInputs loss_inputs(const MicroBatch& micro, const UpdateOptions& options) const;

  std::string config_json;
  ModelConfig config;
  TensorMap parameters;
  AdamW optimizer;
  std::optional<TensorMap> reference;
};

LossInputs Policy::Impl::loss_inputs(const MicroBatch& micro, const UpdateOptions& options) const {
  LossInputs inputs;
  TokenScores scores =
      score_tokens(config, parameters, micro, options.temperature, options.entropy_bonus != 0);
  inputs.log_probs = std::move(scores.log_probs);
  inputs.entropy = std::move(scores.entropy);
  const at::ScalarType dtype = inputs.log_probs.scalar_type();
  inputs.behaviour = to_tensor(micro.behaviour, dtype);
  inputs.advantage = to_tensor(micro.advantage, dtype);
  inputs.weight = to_tensor(micro.weight, dtype);
  inputs.lengths = micro.lengths;
  if (options.beta > 0) {
    const at::NoGradGuard no_grad;
    inputs.reference =
        score_tokens(config, *reference, micro, options.temperature, false).log_probs;
  }
  return inputs;
}

Policy::Policy(const std::string& config_json, uint64_t seed) {
  use_one_thread();
  impl_ = std::make_unique<Impl>(config_json, seed);
}
Policy::~Policy() = default;
Policy::Policy(Policy&&) noexcept = default;

int64_t Policy::parameters() const {
  int64_t count = 0;
  for (const auto& [name, parameter] : impl_->parameters) count += parameter.numel();
  return count;
}

int64_t Policy::steps() const { return impl_->optimizer.steps(); }

const std::string& Policy::config_json() const { return impl_->config_json; }

std::vector<Completion> Policy::sample(
    std::span<const std::vector<int32_t>> prompts, int n, int max_new_tokens, int32_t end_token,
    const std::function<std::unique_ptr<TokenMatcher>(int64_t sequence)>& matcher,
    const SamplingOptions& options) const {
  return sample_completions(impl_->config, impl_->parameters, prompts, n, max_new_tokens, end_token,
                            matcher, options);
}

std::vector<float> Policy::log_probs(const std::vector<int32_t>& prompt,
                                     std::span<const int32_t> completion, TokenMatcher* matcher,
                                     double temperature) const {
  check_sequence(impl_->config, prompt, completion, 0);
  if (completion.empty()) return {};
  MicroBatch micro;
  micro.packed.add_prompt(prompt);
  micro.packed.add_completion(completion);
  micro.targets.assign(completion.begin(), completion.end());
  std::vector<uint8_t> rows;
  if (matcher) {
    append_allowed(*matcher, completion, impl_->config.vocab_size, rows);
    micro.allowed = at::from_blob(
        rows.data(), {static_cast<int64_t>(completion.size()), impl_->config.vocab_size},
        at::kBool);
  }
  const c10::InferenceMode inference;
  const at::Tensor scores =
      score_tokens(impl_->config, impl_->parameters, micro, temperature, false)
          .log_probs.contiguous();
  const auto* data = scores.data_ptr<float>();
  return {data, data + scores.numel()};
}

UpdateMetrics Policy::update(
    std::span<const Trajectory> batch,
    const std::function<std::unique_ptr<TokenMatcher>(harness::Role)>& matcher,
    const UpdateOptions& options) {
  check_options(options, impl_->reference.has_value());
  const std::vector<const Trajectory*> kept = learnable(batch);
  std::vector<int64_t> lengths;
  UpdateMetrics metrics;
  for (const Trajectory* trajectory : kept) {
    lengths.push_back(static_cast<int64_t>(trajectory->completion.tokens.size()));
    metrics.num_tokens += lengths.back();
  }
  const bool flat =
      std::all_of(kept.begin(), kept.end(), [](const Trajectory* t) { return t->advantage == 0; });
  if (kept.empty() || (flat && options.beta == 0 && options.entropy_bonus == 0)) return metrics;

  const std::vector<MicroBatch> micro_batches = make_micro_batches(
      impl_->config, kept, token_weights(options.loss, lengths, options.max_completion_tokens),
      matcher, options.micro_batch_tokens);
  LossSums sums;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    clear_gradients(impl_->parameters);
    for (const MicroBatch& micro : micro_batches) {
      const at::Tensor loss = grpo_loss(impl_->loss_inputs(micro, options), options, sums);
      metrics.loss += loss.item<double>() / options.epochs;
      loss.backward();
    }
    metrics.grad_norm += impl_->optimizer.step(impl_->parameters, options.learning_rate,
                                               options.weight_decay, options.max_grad_norm) /
                         options.epochs;
  }
  clear_gradients(impl_->parameters);
  const double tokens = static_cast<double>(metrics.num_tokens) * options.epochs;
  metrics.kl = sums.kl / tokens;
  metrics.entropy = sums.entropy / tokens;
  metrics.clip_ratio_low_mean = sums.clip_low / tokens;
  metrics.clip_ratio_high_mean = sums.clip_high / tokens;
  metrics.clip_ratio_region_mean = metrics.clip_ratio_low_mean + metrics.clip_ratio_high_mean;
  return metrics;
}

double Policy::imitate(std::span<const Trajectory> batch,
                       const std::function<std::unique_ptr<TokenMatcher>(harness::Role)>& matcher,
                       double learning_rate, double max_grad_norm) {
  std::vector<const Trajectory*> kept;
  std::vector<int64_t> lengths;
  for (const Trajectory& trajectory : batch) {
    if (trajectory.completion.tokens.empty()) continue;
    kept.push_back(&trajectory);
    lengths.push_back(static_cast<int64_t>(trajectory.completion.tokens.size()));
  }
  if (kept.empty()) return 0;
  const UpdateOptions defaults;
  clear_gradients(impl_->parameters);
  double mean_loss = 0;
  for (const MicroBatch& micro :
       make_micro_batches(impl_->config, kept, token_weights(Loss::kDapo, lengths, 0), matcher,
                          defaults.micro_batch_tokens)) {
    const at::Tensor log_probs =
        score_tokens(impl_->config, impl_->parameters, micro, 1.0, false).log_probs;
    const at::Tensor loss = -(log_probs * to_tensor(micro.weight, log_probs.scalar_type())).sum();
    mean_loss += loss.item<double>();
    loss.backward();
  }
  impl_->optimizer.step(impl_->parameters, learning_rate, 0.0, max_grad_norm);
  clear_gradients(impl_->parameters);
  return mean_loss;
}

void Policy::set_reference() { impl_->reference = copies(impl_->parameters); }

void Policy::save(const std::filesystem::path& folder) const {
  const std::map<std::string, std::string> metadata{
      {"format", "pt"}, {"step", std::to_string(impl_->optimizer.steps())}};
  TensorMap moments;
  for (const auto& [name, moment] : impl_->optimizer.first_moments()) {
    moments["exp_avg." + name] = moment;
  }
  for (const auto& [name, moment] : impl_->optimizer.second_moments()) {
    moments["exp_avg_sq." + name] = moment;
  }
  write_file_atomic(folder / "config.json", impl_->config_json);
  write_checkpoint(folder / "model.safetensors", impl_->parameters, metadata);
  write_checkpoint(folder / "optimizer.safetensors", moments, metadata);
  if (impl_->reference) {
    write_checkpoint(folder / "reference.safetensors", *impl_->reference, metadata);
  } else {
    std::filesystem::remove(folder / "reference.safetensors");
  }
}

void Policy::load(const std::filesystem::path& folder) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCategory::kData, fmt::format("load {}: {}", folder.string(), what));
  };
  if (parse_model_config(read_file(folder / "config.json")) != impl_->config) {
    refuse("config.json describes another model than this policy's");
  }
  Checkpoint weights = read_weights(folder, at::kFloat);
  // Some writers store a tied head a second time.
  if (impl_->config.tie_word_embeddings) weights.tensors.erase("lm_head.weight");
  check_parameters(impl_->config, weights.tensors, (folder / "model.safetensors").string());

  AdamW optimizer(weights.tensors);
  const std::filesystem::path optimizer_file = folder / "optimizer.safetensors";
  if (std::filesystem::exists(optimizer_file)) {
    Checkpoint moments = read_checkpoint(optimizer_file, at::kFloat);
    const std::string step = moments.metadata["step"];
    int64_t steps = 0;
    if (std::from_chars(step.data(), step.data() + step.size(), steps).ec != std::errc() ||
        step != weights.metadata["step"]) {
      refuse(fmt::format("model.safetensors is of step \"{}\", optimizer.safetensors of \"{}\"",
                         weights.metadata["step"], step));
    }
    TensorMap first;
    TensorMap second;
    for (auto& [name, moment] : moments.tensors) {
      const auto dot = name.find('.');
      (name.substr(0, dot) == "exp_avg" ? first : second)[name.substr(dot + 1)] = moment;
    }
    check_parameters(impl_->config, first, optimizer_file.string() + " (exp_avg)");
    check_parameters(impl_->config, second, optimizer_file.string() + " (exp_avg_sq)");
    optimizer.restore(std::move(first), std::move(second), steps);
  }
  std::optional<TensorMap> reference;
  const std::filesystem::path reference_file = folder / "reference.safetensors";
  if (std::filesystem::exists(reference_file)) {
    reference = read_checkpoint(reference_file, at::kFloat).tensors;
    check_parameters(impl_->config, *reference, reference_file.string());
  }
  impl_->parameters = trainable(std::move(weights.tensors));
  impl_->optimizer = std::move(optimizer);
  impl_->reference = std::move(reference);
}

}  // namespace crinn::train
