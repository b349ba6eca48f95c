// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "../../unit/training/toy_policy.h"
#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/rng.h"
#include "crinn/train/policy.h"
#include "crinn/train/safetensors.h"

namespace crinn::train {
namespace {

std::string random_config(Rng& rng) {
  const char* families[] = {"qwen3", "qwen2", "llama"};
  const auto kv_heads = 1 + rng.below(3);
  const auto number = [](uint64_t value) { return std::to_string(value); };
  return R"({"model_type": ")" + std::string(families[rng.below(3)]) +
         R"(", "initializer_range": 0.2, "hidden_size": )" + number(1 + rng.below(40)) +
         R"(, "num_hidden_layers": )" + number(1 + rng.below(3)) + R"(, "num_key_value_heads": )" +
         number(kv_heads) + R"(, "num_attention_heads": )" + number(kv_heads * (1 + rng.below(4))) +
         R"(, "head_dim": )" + number(2 * (1 + rng.below(10))) + R"(, "intermediate_size": )" +
         number(1 + rng.below(50)) + R"(, "vocab_size": )" + number(toy::kVocabulary) +
         R"(, "tie_word_embeddings": )" + (rng.below(2) ? "true" : "false") + "}";
}

TEST(PolicyProperty, CachedDecodeEqualsTheFullForwardPassForEveryShape) {
  Rng rng(1);
  for (int round = 0; round < 40; ++round) {
    const std::string config = random_config(rng);
    const Policy policy(config, rng());
    std::vector<std::vector<int32_t>> prompts(1 + rng.below(4));
    for (auto& prompt : prompts) {
      prompt.resize(1 + rng.below(20));
      for (int32_t& token : prompt) token = static_cast<int32_t>(rng.below(toy::kVocabulary));
    }
    const int n = static_cast<int>(1 + rng.below(4));
    const double temperature = 0.5 + rng.uniform();
    const auto completions =
        policy.sample(prompts, n, 16, toy::kEnd, toy::any_length, {temperature, rng()});
    for (std::size_t i = 0; i < completions.size(); ++i) {
      toy::AnyLength matcher(9);
      const auto expected = policy.log_probs(prompts[i / static_cast<std::size_t>(n)],
                                             completions[i].tokens, &matcher, temperature);
      for (std::size_t t = 0; t < expected.size(); ++t) {
        ASSERT_NEAR(completions[i].log_probs[t], expected[t], 2e-5) << config;
      }
    }
  }
}

// Whatever bytes are wrong, a file is read or refused with an Error; nothing else happens.
TEST(SafetensorsProperty, RefusesOrReadsDamagedFiles) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file.safetensors";
  const std::vector<float> values(12, 1.0f);
  write_safetensors(path,
                    {{"a", {"F32", {3, 2}, std::as_bytes(std::span(values)).first(24)}},
                     {"b", {"U8", {24}, std::as_bytes(std::span(values)).first(24)}}},
                    {{"step", "3"}});
  const std::string good = read_file(path);
  Rng rng(7);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string bad = good;
    for (uint64_t i = 0; i <= rng.below(3); ++i) {
      bad[rng.below(good.size())] = static_cast<char>(rng.below(256));
    }
    if (rng.below(4) == 0) bad.resize(rng.below(bad.size()));
    const auto damaged = folder.path() / ("damaged" + std::to_string(round % 4));
    write_file_atomic(damaged, bad);
    try {
      const SafetensorsFile file(damaged);
      for (const auto& [name, entry] : file.entries()) {
        unsigned sum = 0;
        for (const std::byte byte : entry.data) sum += std::to_integer<unsigned>(byte);
        EXPECT_LE(sum, 24u * 255u) << name;
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace crinn::train
