// SPDX-License-Identifier: Apache-2.0
#include "model_config.h"

#include <gtest/gtest.h>

#include "crinn/base/error.h"
#include "toy_policy.h"

namespace crinn::train {
namespace {

std::string with(const std::string& extra) {
  std::string text = toy::config();
  text.insert(1, extra);
  return text;
}

std::string message(const std::string& text) {
  try {
    parse_model_config(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    return error.what();
  }
  return "";
}

TEST(ModelConfig, ReadsTheOldAndTheNewSpelling) {
  const std::string start = R"({"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9, )";
  const ModelConfig old_spelling =
      parse_model_config(start + R"("rope_theta": 5e5, "torch_dtype": "bfloat16", "rope_scaling":
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 8192}})");
  const ModelConfig new_spelling =
      parse_model_config(start + R"("dtype": "bfloat16", "rope_parameters":
        {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
         "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})");
  EXPECT_EQ(old_spelling, new_spelling);
  EXPECT_EQ(old_spelling.rope_theta, 5e5);
  EXPECT_EQ(old_spelling.kv_heads, 2);
  EXPECT_EQ(old_spelling.head_dim, 4);
  ASSERT_TRUE(old_spelling.rope_scaling.has_value());
  EXPECT_EQ(old_spelling.rope_scaling->factor, 8);
}

TEST(ModelConfig, IgnoresWhatDoesNotChangeTheFunction) {
  EXPECT_EQ(message(with(R"("architectures": ["Qwen3ForCausalLM"], "use_cache": true,
    "sliding_window": null, "eos_token_id": 1, "layer_types": ["full_attention"], )")),
            "");
}

TEST(ModelConfig, NamesTheKeyAtFault) {
  EXPECT_NE(message("[1]").find("not a JSON object"), std::string::npos);
  EXPECT_NE(message("{").find("not JSON"), std::string::npos);
  EXPECT_NE(message("{}").find("missing key model_type"), std::string::npos);
  EXPECT_NE(message(R"({"model_type": "gpt2"})").find("gpt2"), std::string::npos);
  EXPECT_NE(message(R"({"model_type": "qwen3"})").find("missing key vocab_size"),
            std::string::npos);
  EXPECT_NE(message(with(R"("hiden_size": 8, )")).find("unknown key hiden_size"),
            std::string::npos);
  EXPECT_NE(message(with(R"("use_sliding_window": true, )")).find("use_sliding_window"),
            std::string::npos);
  EXPECT_NE(message(with(R"("hidden_act": "gelu", )")).find("gelu"), std::string::npos);
  EXPECT_NE(message(with(R"("rope_scaling": {"type": "yarn", "factor": 4.0}, )")).find("yarn"),
            std::string::npos);
  EXPECT_NE(message(with(R"("layer_types": ["sliding_attention"], )")).find("sliding_attention"),
            std::string::npos);
  EXPECT_NE(message(with(R"("mlp_bias": 1, )")).find("mlp_bias has the wrong type"),
            std::string::npos);
}

TEST(ModelConfig, RefusesHeadsThatCannotBeShared) {
  std::string text = toy::config();
  text.replace(text.find("\"num_attention_heads\": 4"), 24, "\"num_attention_heads\": 3");
  EXPECT_NE(message(text).find("num_key_value_heads 2"), std::string::npos);
}

}  // namespace
}  // namespace crinn::train
