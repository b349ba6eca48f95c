// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "crinn/base/files.h"
#include "crinn/train/proposer.h"

namespace crinn::train {

std::vector<Proposal> PolicyProposer::propose(harness::Role role,
                                              std::span<const Exemplar> exemplars, int n,
                                              uint64_t seed) {
  const std::vector<std::vector<int32_t>> prompts = {codec_.prompt(role, exemplars)};
  const std::vector<Completion> completions =
      policy_.sample(prompts, n, codec_.max_completion_tokens(), codec_.end_token(),
                     [&](int64_t) { return codec_.matcher(role); }, {config_.temperature, seed});
  std::vector<Proposal> proposals;
  for (const Completion& completion : completions) {
    Proposal proposal{prompts.front(), completion, {}};
    if (completion.finished) {
      proposal.decoded = codec_.decode(role, completion.tokens);
    } else {
      proposal.decoded.error = fmt::format("cut after {} tokens", completion.tokens.size());
    }
    proposals.push_back(std::move(proposal));
  }
  return proposals;
}

UpdateMetrics PolicyProposer::learn(std::span<const Trajectory> batch) {
  UpdateOptions options;
  options.loss = config_.loss;
  options.learning_rate = config_.learning_rate;
  options.weight_decay = config_.weight_decay;
  options.max_grad_norm = config_.max_grad_norm;
  options.epsilon_low = config_.epsilon_low;
  options.epsilon_high = config_.epsilon_high;
  options.beta = config_.beta;
  options.temperature = config_.temperature;
  options.entropy_bonus = config_.entropy_bonus;
  options.epochs = config_.epochs;
  const UpdateMetrics metrics = policy_.update(
      batch, [&](harness::Role role) { return codec_.matcher(role); }, options);
  ++policy_step_;
  return metrics;
}

void PolicyProposer::load(const std::filesystem::path& folder, int64_t policy_step) {
  policy_.load(folder);
  policy_step_ = policy_step;
}

Policy make_policy(const PolicyConfig& config, const Codec& codec, uint64_t seed) {
  if (!config.folder.empty()) {
    const std::filesystem::path folder = config.folder;
    Policy policy(read_file(folder / "config.json"), seed);
    policy.load(folder);
    return policy;
  }
  if (!config.config.empty()) return Policy(read_file(config.config), seed);
  const nlohmann::json shape = {
      {"model_type", "qwen3"},
      {"architectures", {"Qwen3ForCausalLM"}},
      {"hidden_size", config.hidden_size},
      {"num_hidden_layers", config.layers},
      {"num_attention_heads", config.heads},
      {"num_key_value_heads", config.kv_heads},
      {"head_dim", config.head_dim},
      {"intermediate_size", config.intermediate_size},
      {"vocab_size", codec.vocabulary()},
      {"max_position_embeddings", codec.max_prompt_tokens() + codec.max_completion_tokens()},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"rope_theta", 10000.0},
      {"rms_norm_eps", 1e-6},
      {"tie_word_embeddings", true}};
  return Policy(shape.dump(2), seed);
}

}  // namespace crinn::train
