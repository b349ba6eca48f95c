// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/train/policy.h"
#include "crinn/train/safetensors.h"
#include "toy_policy.h"

namespace crinn::train {
namespace {

using toy::any_length_of_role;

void train(Policy& policy, int first, int steps, double beta) {
  UpdateOptions options;
  options.learning_rate = 3e-3;
  options.weight_decay = 0.01;
  options.beta = beta;
  for (int step = first; step < first + steps; ++step) {
    const auto batch = toy::sampled_trajectories(policy, 3, static_cast<uint64_t>(step));
    policy.update(batch, any_length_of_role, options);
    policy.imitate(batch, any_length_of_role, 1e-3, 1.0);
  }
}

class PolicyCheckpoint : public testing::Test {
 protected:
  std::filesystem::path at(const std::string& name) const { return folder_.path() / name; }

  std::string load_fault(Policy& policy, const std::string& name) const {
    try {
      policy.load(at(name));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
};

TEST_F(PolicyCheckpoint, ContinuesBitForBit) {
  for (const double beta : {0.0, 0.05}) {
    Policy straight(toy::config(), 1);
    if (beta > 0) straight.set_reference();
    train(straight, 0, 5, beta);
    straight.save(at("straight"));

    Policy before(toy::config(), 1);
    if (beta > 0) before.set_reference();
    train(before, 0, 3, beta);
    before.save(at("middle"));
    Policy after(toy::config(), 99);
    after.load(at("middle"));
    EXPECT_EQ(after.steps(), 6);
    train(after, 3, 2, beta);
    after.save(at("resumed"));
    for (const char* file : {"config.json", "model.safetensors", "optimizer.safetensors"}) {
      EXPECT_TRUE(read_file(at("straight") / file) == read_file(at("resumed") / file)) << file;
    }
    EXPECT_EQ(std::filesystem::exists(at("resumed") / "reference.safetensors"), beta > 0);
  }
}

TEST_F(PolicyCheckpoint, HasTheNamesOfHuggingFace) {
  for (const bool tied : {true, false}) {
    Policy(toy::config("qwen3", tied), 1).save(at("policy"));
    const SafetensorsFile file(at("policy") / "model.safetensors");
    EXPECT_EQ(file.entries().count("lm_head.weight"), tied ? 0u : 1u);
    EXPECT_EQ(file.entries().at("model.layers.1.self_attn.k_proj.weight").shape,
              (std::vector<int64_t>{12, 12}));
    EXPECT_EQ(file.entries().at("model.layers.0.self_attn.q_norm.weight").shape,
              (std::vector<int64_t>{6}));
    EXPECT_EQ(file.metadata().at("format"), "pt");
  }
}

TEST_F(PolicyCheckpoint, OfAnotherModelIsRefused) {
  Policy(toy::config("qwen3", true), 1).save(at("tied"));
  Policy untied(toy::config("qwen3", false), 1);
  EXPECT_NE(load_fault(untied, "tied").find("config.json"), std::string::npos);
  EXPECT_NE(load_fault(untied, "absent").find("absent"), std::string::npos);
}

TEST_F(PolicyCheckpoint, WhoseFilesAreOfDifferentStepsIsRefused) {
  Policy policy(toy::config(), 1);
  policy.save(at("mixed"));
  const std::string old_weights = read_file(at("mixed") / "model.safetensors");
  train(policy, 0, 1, 0);
  policy.save(at("mixed"));
  EXPECT_EQ(load_fault(policy, "mixed"), "");
  write_file_atomic(at("mixed") / "model.safetensors", old_weights);
  EXPECT_NE(load_fault(policy, "mixed").find("of step \"0\""), std::string::npos);
}

TEST_F(PolicyCheckpoint, LoadsHalfPrecisionShardsWithoutAnOptimiser) {
  Policy policy(toy::config(), 1);
  policy.save(at("whole"));
  std::filesystem::create_directory(at("shards"));
  std::filesystem::copy_file(at("whole") / "config.json", at("shards") / "config.json");
  const SafetensorsFile whole(at("whole") / "model.safetensors");
  // Truncation to bfloat16 keeps the upper half of every float.
  std::map<std::string, std::vector<uint16_t>> storage;
  std::map<std::string, SafetensorsEntry> shards[2];
  std::string index;
  for (const auto& [name, entry] : whole.entries()) {
    std::vector<uint16_t>& bits = storage[name];
    for (std::size_t i = 0; i < entry.data.size(); i += 4) {
      bits.push_back(static_cast<uint16_t>(std::to_integer<unsigned>(entry.data[i + 2]) |
                                           std::to_integer<unsigned>(entry.data[i + 3]) << 8));
    }
    const std::size_t shard = name.size() % 2;
    shards[shard][name] = {"BF16", entry.shape, std::as_bytes(std::span(bits))};
    index += (index.empty() ? "\"" : ", \"") + name + "\": \"s" + std::to_string(shard) + "\"";
  }
  for (std::size_t i = 0; i < 2; ++i) {
    write_safetensors(at("shards") / ("s" + std::to_string(i)), shards[i], {});
  }
  write_file_atomic(at("shards") / "model.safetensors.index.json",
                    "{\"weight_map\": {" + index + "}}");
  Policy loaded(toy::config(), 2);
  loaded.load(at("shards"));
  const std::vector<int32_t> text{5, 6, 7, 1};
  const auto expected = policy.log_probs({2, 3}, text, nullptr, 1.0);
  const auto found = loaded.log_probs({2, 3}, text, nullptr, 1.0);
  for (std::size_t i = 0; i < text.size(); ++i) EXPECT_NEAR(found[i], expected[i], 0.1);
}

TEST_F(PolicyCheckpoint, ThatIsDamagedIsRefusedAndChangesNothing) {
  Policy policy(toy::config(), 1);
  policy.save(at("damaged"));
  const std::string optimizer = read_file(at("damaged") / "optimizer.safetensors");
  write_file_atomic(at("damaged") / "optimizer.safetensors",
                    optimizer.substr(0, optimizer.size() - 4));
  Policy other(toy::config(), 2);
  const std::vector<int32_t> text{5, 6, 7, 1};
  const auto before = other.log_probs({2, 3}, text, nullptr, 1.0);
  EXPECT_NE(load_fault(other, "damaged").find("optimizer.safetensors"), std::string::npos);
  EXPECT_EQ(other.log_probs({2, 3}, text, nullptr, 1.0), before);
}

}  // namespace
}  // namespace crinn::train
