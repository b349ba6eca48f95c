// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/train/run_log.h"
#include "crinn/train/run_state.h"
#include "crinn/train/schedule.h"
#include "crinn/train/unified_diff.h"

namespace crinn::train {
namespace {

using harness::Role;

TEST(Schedule, RepeatsRolesByRoundAndLeavesOutEmptyOnes) {
  ScheduleConfig config;
  config.roles = {Role::kSearch, Role::kConstruction, Role::kRefinement};
  config.steps[Role::kConstruction] = 0;
  config.rounds = 2;
  const auto phases = phases_of(config);
  ASSERT_EQ(phases.size(), 4u);
  EXPECT_EQ(phases[1].role, Role::kRefinement);
  EXPECT_EQ(phases[2].role, Role::kSearch);
  EXPECT_EQ(phases[2].round, 1);
}

TEST(Schedule, SharesWhatIsLeftAmongWhatIsLeft) {
  ScheduleConfig config;
  config.roles = {Role::kSearch, Role::kRefinement};
  config.share = {{Role::kConstruction, 5}, {Role::kSearch, 3}, {Role::kRefinement, 1}};
  const auto phases = phases_of(config);
  EXPECT_EQ(phase_seconds(config, phases, 0, 100), std::numeric_limits<double>::infinity());
  config.wall_seconds = 1000;
  EXPECT_DOUBLE_EQ(phase_seconds(config, phases, 0, 100), 75);
  EXPECT_DOUBLE_EQ(phase_seconds(config, phases, 1, 100), 100);
  EXPECT_DOUBLE_EQ(phase_seconds(config, phases, 1, -5), 0);
}

TEST(RunState, ReadsBackWhatItWrote) {
  RunState state;
  state.step = 12;
  state.phase = 1;
  state.seeded = true;
  state.phase_step = 3;
  state.elapsed = 1.0 / 3;
  state.best = {0, 77, 5};
  state.best_ratio = {1.5, std::nan(""), 1.75};
  state.policy_step = 9;
  const RunState again = run_state_from_json(to_json(state));
  EXPECT_EQ(to_json(again), to_json(state));
  EXPECT_EQ(again.best, state.best);
  EXPECT_TRUE(std::isnan(again.best_ratio.low));
  EXPECT_THROW(run_state_from_json("{}"), Error);
  EXPECT_THROW(run_state_from_json("nonsense"), Error);
}

TEST(Checkpoints, KeepTheNewestAndNameTheLatest) {
  const TemporaryFolder folder;
  const Checkpoints checkpoints(folder.path() / "c", 2);
  EXPECT_FALSE(checkpoints.latest());
  RunState state;
  for (state.step = 1; state.step <= 4; ++state.step) {
    checkpoints.save(state, [](const auto& path) { write_file_atomic(path / "p", "x"); });
  }
  EXPECT_EQ(checkpoints.latest()->filename(), "step-000004");
  EXPECT_EQ(Checkpoints::load_state(*checkpoints.latest()).step, 4);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "c" / "step-000002"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "c" / "step-000003" / "p"));
}

TEST(Checkpoints, AnInterruptedSaveLeavesTheFormerOne) {
  const TemporaryFolder folder;
  const Checkpoints checkpoints(folder.path(), 3);
  RunState state;
  state.step = 1;
  checkpoints.save(state, [](const auto&) {});
  state.step = 2;
  EXPECT_THROW(checkpoints.save(state, [](const auto&) { throw std::runtime_error("full"); }),
               std::runtime_error);
  EXPECT_EQ(checkpoints.latest()->filename(), "step-000001");
}

TEST(RunLog, DropsLinesOfStepsThatAreRunAgain) {
  const TemporaryFolder folder;
  {
    RunLog log(folder.path(), false, -1, nullptr);
    for (int step = 1; step <= 3; ++step) {
      log.metrics(step, {{"reward", step * 0.5}, {"nothing", std::nan("")}});
    }
  }
  std::ofstream(folder.path() / "metrics.jsonl", std::ios::app) << "{\"step\": 4, \"rew";
  RunLog log(folder.path(), false, 2, nullptr);
  log.metrics(3, {{"reward", 9}});
  const auto lines = read_metrics(folder.path());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].values, (Metrics{{"reward", 1.0}}));
  EXPECT_EQ(lines[2].values, (Metrics{{"reward", 9.0}}));
}

TEST(UnifiedDiff, IsEmptyForEqualTexts) { EXPECT_EQ(unified_diff("a\n", "a\n", "x", "y"), ""); }

TEST(UnifiedDiff, ShowsChangesWithContext) {
  EXPECT_EQ(unified_diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nx\n6\n7\n8\n", "a", "b", 2),
            "--- a\n+++ b\n@@ -3,5 +3,5 @@\n 3\n 4\n-5\n+x\n 6\n 7\n");
  EXPECT_EQ(unified_diff("", "new\n", "a", "b"), "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+new\n");
  EXPECT_EQ(unified_diff("a", "a\n", "a", "b"),
            "--- a\n+++ b\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n");
}

}  // namespace
}  // namespace crinn::train
