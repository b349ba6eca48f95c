// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/config.h"

#include <gtest/gtest.h>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  Config load(const std::string& yaml, std::vector<std::string> overrides = {}) {
    write_file_atomic(file_, yaml);
    return load_config(file_, overrides);
  }
  std::string error(const std::string& yaml, std::vector<std::string> overrides = {}) {
    try {
      load(yaml, std::move(overrides));
    } catch (const Error& e) {
      EXPECT_EQ(e.category(), ErrorCategory::kUsage);
      return e.what();
    }
    return "no error";
  }
  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "run.yaml";
};

#define EXPECT_MENTIONS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

TEST_F(ConfigTest, StartsFromDefaults) {
  const Config config = load("");
  EXPECT_TRUE(changed_keys(config, Config{}).empty());
}

TEST_F(ConfigTest, ReadsKeysOfEveryKind) {
  const Config config = load(
      "name: demo\nseed: 18446744073709551615\nproposer: edit\n"
      "schedule:\n  roles: [search, refinement]\n  steps: {search: 7}\n"
      "grpo: {loss: gspo, advantage: rank, temperature: 0.8}\n"
      "report:\n  html: false\nreuse: [a.sqlite]\n");
  EXPECT_EQ(config.name, "demo");
  EXPECT_EQ(config.seed, 18446744073709551615ull);
  EXPECT_EQ(config.proposer, ProposerKind::kEdit);
  EXPECT_EQ(config.schedule.roles,
            (std::vector<harness::Role>{harness::Role::kSearch, harness::Role::kRefinement}));
  EXPECT_EQ(config.schedule.steps.at(harness::Role::kSearch), 7);
  EXPECT_EQ(config.schedule.steps.at(harness::Role::kRefinement), 100);
  EXPECT_EQ(config.grpo.loss, Loss::kGspo);
  EXPECT_EQ(config.grpo.advantage, Advantage::kRank);
  EXPECT_EQ(config.grpo.temperature, 0.8);
  EXPECT_FALSE(config.report.html);
  EXPECT_EQ(config.reuse, std::vector<std::string>{"a.sqlite"});
}

TEST_F(ConfigTest, WritesWhatItReadsBackToTheSame) {
  Config config = load("name: x\nmetric: ''\ngrpo: {learning_rate: 1.0e-5}\n");
  config.confirm.datasets = {"a b.hdf5", "c: d"};
  config.judge.core = 1;
  const Config again = load(to_yaml(config));
  EXPECT_TRUE(changed_keys(config, again).empty()) << to_yaml(config);
}

TEST_F(ConfigTest, OverridesWinAndMayAddGroups) {
  const Config config =
      load("grpo: {group_size: 4}\n", {"grpo.group_size=8", "schedule.roles=[search]", "name=n"});
  EXPECT_EQ(config.grpo.group_size, 8);
  EXPECT_EQ(config.schedule.roles.size(), 1u);
  EXPECT_EQ(config.name, "n");
}

TEST_F(ConfigTest, NamesFileLineAndNearestKeyOfAnUnknownOne) {
  const std::string text = error("name: x\ngrpo:\n  group_siez: 4\n");
  EXPECT_MENTIONS(text, "run.yaml:3");
  EXPECT_MENTIONS(text, "unknown key 'grpo.group_siez'");
  EXPECT_MENTIONS(text, "'grpo.group_size'");
}

TEST_F(ConfigTest, NamesTheTypeThatItWants) {
  EXPECT_MENTIONS(error("k: ten\n"), "run.yaml:1: 'k' must be an integer, not 'ten'");
  EXPECT_MENTIONS(error("\ngrpo: 3\n"), "run.yaml:2: 'grpo' must be a mapping");
  EXPECT_MENTIONS(error("report: {html: maybe}\n"), "'report.html' must be true or false");
  EXPECT_MENTIONS(error("grpo: {loss: ppo}\n"), "one of grpo, bnpo, dapo");
  EXPECT_MENTIONS(error("schedule: {roles: search}\n"), "must be a list");
  EXPECT_MENTIONS(error("schedule: {roles: [serach]}\n"),
                  "one of construction, search, refinement");
  EXPECT_MENTIONS(error("k: 1.5\n"), "must be an integer");
}

TEST_F(ConfigTest, RefusesValuesOutOfRange) {
  EXPECT_MENTIONS(error("k: 0\n"), "'k' is 0, must be at least 1");
  EXPECT_MENTIONS(error("", {"grpo.group_size=1"}), "must be at least 2");
  EXPECT_MENTIONS(error("groundtruth: magic\n"), "must be one of auto, file, cpu, gpu");
  EXPECT_MENTIONS(error("judge: {band_low: 0.96}\n"), "band_low");
  EXPECT_MENTIONS(error("name: a/b\n"), "no folder name");
  EXPECT_MENTIONS(error("exemplars: {tau: .nan}\n"), "tau");
}

TEST_F(ConfigTest, RefusesBadOverrides) {
  EXPECT_MENTIONS(error("", {"grpo.group_size"}), "not of the form key=value");
  EXPECT_MENTIONS(error("", {"grpo.groupsize=3"}), "unknown key 'grpo.groupsize'");
  EXPECT_MENTIONS(error("", {"k=[1"}), "k=[1");
}

TEST_F(ConfigTest, NamesTheLineOfBrokenYaml) {
  EXPECT_MENTIONS(error("name: x\n  k: [1\n"), "run.yaml:");
}

TEST_F(ConfigTest, ListsWhatChanged) {
  Config other;
  other.grpo.group_size = 3;
  other.schedule.steps[harness::Role::kSearch] = 1;
  EXPECT_EQ(changed_keys(Config{}, other),
            (std::vector<std::string>{"grpo.group_size", "schedule.steps.search"}));
}

TEST(ShippedConfigs, Load) {
  for (const char* name : {"demo.yaml", "hour.yaml"}) {
    load_config(std::filesystem::path(CRINN_CONFIG_FOLDER) / name, {});
  }
}

}  // namespace
}  // namespace crinn::train
