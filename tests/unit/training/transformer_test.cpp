// SPDX-License-Identifier: Apache-2.0
#include "transformer.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "naive_transformer.h"
#include "packing.h"
#include "toy_policy.h"

namespace crinn::train {
namespace {

// Two threads on tiny tensors wait for each other most of the time.
const bool kOneThread = (at::set_num_threads(1), true);

// Norm weights and biases away from one and zero, so that a forgotten one shows.
TensorMap rough_parameters(const ModelConfig& config, at::ScalarType dtype) {
  TensorMap parameters = initial_parameters(config, 5, at::kDouble);
  Rng rng(9);
  for (auto& [name, parameter] : parameters) {
    auto* data = parameter.data_ptr<double>();
    for (int64_t i = 0; i < parameter.numel(); ++i) data[i] += 0.2 * rng.normal();
    parameter = parameter.to(dtype);
  }
  return parameters;
}

NaiveTransformer naive(const ModelConfig& config, const TensorMap& parameters) {
  return {config, [parameters](const std::string& name) {
            const at::Tensor tensor = parameters.at(name).to(at::kDouble).contiguous();
            const auto* data = tensor.data_ptr<double>();
            return std::vector<double>(data, data + tensor.numel());
          }};
}

struct Family {
  const char* model_type;
  bool tied;
  const char* extra;
};

class Families : public testing::TestWithParam<Family> {};

TEST_P(Families, AgreeWithPlainLoopsInDouble) {
  std::string text = toy::config(GetParam().model_type, GetParam().tied);
  text.insert(1, GetParam().extra);
  const ModelConfig config = parse_model_config(text);
  const TensorMap parameters = rough_parameters(config, at::kFloat);
  check_parameters(config, parameters, "test");
  const NaiveTransformer oracle = naive(config, parameters);

  // Two prompts, completions of several lengths (one of a single token) that share them.
  const std::vector<std::vector<int32_t>> prompts{{2, 3, 4, 5, 6}, {7}};
  const std::vector<std::vector<int32_t>> completions{{8, 9, 10, 11}, {12}, {16, 15, 14}};
  Packed packed;
  for (const auto& prompt : prompts) {
    packed.add_prompt(prompt);
    for (const auto& completion : completions) packed.add_completion(completion);
  }
  const Weights weights = fuse(config, parameters);
  const at::Tensor found = logits(weights, packed_hidden_states(config, weights, packed)
                                               .index_select(0, to_tensor(packed.predicting_rows)));
  int64_t row = 0;
  for (const auto& prompt : prompts) {
    for (const auto& completion : completions) {
      std::vector<int32_t> sequence = prompt;
      sequence.insert(sequence.end(), completion.begin(), completion.end());
      const auto expected = oracle.logits(sequence);
      for (std::size_t i = 0; i < completion.size(); ++i, ++row) {
        const std::vector<double>& wanted = expected[prompt.size() - 1 + i];
        for (int64_t t = 0; t < config.vocab_size; ++t) {
          ASSERT_NEAR(found[row][t].item<double>(), wanted[static_cast<std::size_t>(t)], 1e-5)
              << "row " << row << " token " << t;
        }
      }
    }
  }
  EXPECT_EQ(row, found.size(0));
}

INSTANTIATE_TEST_SUITE_P(Transformer, Families,
                         testing::Values(Family{"qwen3", true, ""}, Family{"qwen3", false, ""},
                                         Family{"qwen3", true, R"("attention_bias": true, )"},
                                         Family{"qwen2", true, ""}, Family{"llama", false, ""},
                                         Family{"llama", false,
                                                R"("attention_bias": true, "mlp_bias": true, )"}));

TEST(Transformer, WeightsDependOnTheSeedAndTheirNameOnly) {
  const ModelConfig small = parse_model_config(toy::config());
  ModelConfig deep = small;
  deep.layers = 3;
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const at::Tensor tensor = initial_parameters(small, 1).at(name);
  EXPECT_TRUE(tensor.equal(initial_parameters(deep, 1).at(name)));
  EXPECT_FALSE(tensor.equal(initial_parameters(small, 2).at(name)));
  EXPECT_FALSE(tensor.equal(initial_parameters(small, 1).at("model.layers.0.mlp.up_proj.weight")));
}

TEST(Transformer, NamesAParameterThatIsMissingUnknownOrOfAWrongShape) {
  const ModelConfig config = parse_model_config(toy::config());
  const auto message = [&](const TensorMap& parameters) -> std::string {
    try {
      check_parameters(config, parameters, "FILE");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  TensorMap parameters = initial_parameters(config, 1);
  EXPECT_EQ(message(parameters), "");
  parameters["lm_head.weight"] = at::zeros({1});
  EXPECT_NE(message(parameters).find("unknown parameter lm_head.weight"), std::string::npos);
  parameters.erase("lm_head.weight");
  parameters["model.norm.weight"] = at::zeros({13});
  EXPECT_NE(message(parameters).find("model.norm.weight has shape [13]"), std::string::npos);
  parameters.erase("model.norm.weight");
  EXPECT_NE(message(parameters).find("missing parameter model.norm.weight"), std::string::npos);
}

TEST(Transformer, HasTheGradientsOfFiniteDifferences) {
  const ModelConfig config = parse_model_config(toy::config("qwen3", true));
  TensorMap parameters = rough_parameters(config, at::kDouble);
  for (auto& [name, parameter] : parameters) parameter.set_requires_grad(true);
  Packed packed;
  packed.add_prompt(std::vector<int32_t>{2, 3, 4});
  packed.add_completion(std::vector<int32_t>{5, 6, 1});
  packed.add_completion(std::vector<int32_t>{7, 1});
  const at::Tensor targets = to_tensor(std::vector<int32_t>{5, 6, 1, 7, 1}).unsqueeze(1);
  const auto loss = [&] {
    const Weights weights = fuse(config, parameters);
    const at::Tensor rows = packed_hidden_states(config, weights, packed)
                                .index_select(0, to_tensor(packed.predicting_rows));
    return masked_log_softmax(logits(weights, rows), {}, 0.7).gather(1, targets).sum();
  };
  loss().backward();
  const at::NoGradGuard no_grad;
  Rng rng(3);
  for (auto& [name, parameter] : parameters) {
    at::Tensor direction = at::empty(parameter.sizes(), at::kDouble);
    auto* data = direction.data_ptr<double>();
    for (int64_t i = 0; i < direction.numel(); ++i) data[i] = rng.normal();
    const double step = 1e-5;
    parameter.add_(direction, step);
    const double up = loss().item<double>();
    parameter.sub_(direction, 2 * step);
    const double down = loss().item<double>();
    parameter.add_(direction, step);
    const double expected = (parameter.grad() * direction).sum().item<double>();
    EXPECT_NEAR((up - down) / (2 * step), expected, 1e-6 * (1 + std::abs(expected))) << name;
  }
}

}  // namespace
}  // namespace crinn::train
