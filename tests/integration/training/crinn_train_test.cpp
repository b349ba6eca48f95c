// SPDX-License-Identifier: Apache-2.0
// The tool itself with the real judge on a tiny data set: killed, stopped, resumed, replayed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <thread>

#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"
#include "crinn/train/archive.h"
#include "crinn/train/run_log.h"

namespace crinn::train {
namespace {

constexpr const char* kConfig = R"(
dataset: "synthetic:n=2000,d=16,clusters=20,metric=euclidean,seed=1,queries=240"
queries: {train: 120, held_out: 120}
judge: {instances: 2, race_seconds: 0.2, min_points: 3, ef_construction: 60}
policy: {hidden_size: 32, layers: 1, heads: 2, kv_heads: 1, head_dim: 16, intermediate_size: 64}
warm_start: {steps: 4, batch: 4}
grpo: {group_size: 2, oversample: 1, noise_tolerance: 0}
seeds: {examples: 1, random: 1, edits: 0}
schedule: {roles: [search, refinement], steps: {search: 2, refinement: 1}}
confirm: {verify_top: 1, instances: 2, race_seconds: 0.2, quarantine_ratio: 1000}
)";

class CrinnTrain : public ::testing::Test {
 protected:
  CrinnTrain() { write_file_atomic(folder_.path() / "run.yaml", kConfig); }

  std::vector<std::string> command(std::vector<std::string> extra) const {
    std::vector<std::string> argv = {CRINN_TRAIN_TOOL, (folder_.path() / "run.yaml").string(),
                                     "out=" + folder_.path().string(),
                                     "work_folder=" + (folder_.path() / "cache").string()};
    argv.insert(argv.end(), extra.begin(), extra.end());
    return argv;
  }
  ProcessResult run(std::vector<std::string> extra) const { return run_process(command(extra)); }

  /// Starts the tool, sends a signal once the archive holds so many measurements, waits.
  int run_and_signal(std::vector<std::string> extra, const std::string& name, int64_t measurements,
                     int signal) const {
    const std::vector<std::string> argv = command(extra);
    const pid_t child = fork();
    if (child == 0) {
      std::vector<char*> raw;
      for (const std::string& word : argv) raw.push_back(const_cast<char*>(word.c_str()));
      raw.push_back(nullptr);
      const int log = open((folder_.path() / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
      dup2(log, STDOUT_FILENO);
      dup2(log, STDERR_FILENO);
      execv(raw[0], raw.data());
      _exit(127);
    }
    bool sent = false;
    for (;;) {
      int status = 0;
      if (waitpid(child, &status, WNOHANG) == child) {
        EXPECT_TRUE(sent) << read_file(folder_.path() / "log");
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
      }
      if (!sent && std::filesystem::exists(run_folder(name) / "samples.jsonl") &&
          Archive(run_folder(name) / "archive.sqlite").measurements() >= measurements) {
        kill(child, signal);
        sent = true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  std::filesystem::path run_folder(const std::string& name) const { return folder_.path() / name; }
  std::vector<CandidateRow> rows(const std::string& name) const {
    return Archive(run_folder(name) / "archive.sqlite").candidates();
  }

  TemporaryFolder folder_;
};

TEST_F(CrinnTrain, KilledAndResumedItTakesTheCourseOfAnUninterruptedRun) {
  // Killed in the first GRPO step, stopped politely in the second, then let go to its end.
  EXPECT_EQ(run_and_signal({"name=broken"}, "broken", 3, SIGKILL), -SIGKILL);
  const auto checkpoint = run_folder("broken") / "checkpoints" / "latest";
  ASSERT_TRUE(std::filesystem::exists(checkpoint));
  EXPECT_EQ(run_and_signal({"name=broken", "--resume", "auto"}, "broken", 5, SIGTERM), 75);
  const ProcessResult end = run({"name=broken", "--resume", "auto"});
  ASSERT_EQ(end.exit_code, 0) << end.err;
  const auto broken = rows("broken");
  // 1 incumbent + 2 seeds + 2 x 2 proposals; 1 + 2 + 2; at most one verification a phase.
  EXPECT_GE(broken.size(), 12u);
  // Asked once more, a finished run has nothing left to do.
  const ProcessResult again = run({"name=broken", "--resume", "auto"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(rows("broken").size(), broken.size());

  // The same measurements, no interruption.
  const ProcessResult whole =
      run({"name=whole", "reuse=[" + (run_folder("broken") / "archive.sqlite").string() + "]"});
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  const auto replay = rows("whole");
  ASSERT_EQ(replay.size(), broken.size());
  for (std::size_t i = 0; i < broken.size(); ++i) {
    EXPECT_EQ(replay[i].id, broken[i].id);
    EXPECT_EQ(replay[i].step, broken[i].step);
    EXPECT_EQ(replay[i].slot, broken[i].slot);
    EXPECT_EQ(replay[i].completion, broken[i].completion);
    EXPECT_EQ(replay[i].parents, broken[i].parents);
    EXPECT_EQ(replay[i].reward, broken[i].reward);
    EXPECT_EQ(replay[i].policy_step, broken[i].policy_step);
    EXPECT_TRUE(replay[i].cached) << "candidate " << replay[i].id;
  }
  const auto left = read_metrics(run_folder("broken")), right = read_metrics(run_folder("whole"));
  ASSERT_EQ(left.size(), right.size());
  const std::set<std::string> timed = {"step_time", "cached_fraction"};
  for (std::size_t i = 0; i < left.size(); ++i) {
    ASSERT_EQ(left[i].values.size(), right[i].values.size());
    for (std::size_t j = 0; j < left[i].values.size(); ++j) {
      const auto& [name, value] = left[i].values[j];
      if (name.starts_with("timing_s/") || timed.contains(name)) continue;
      EXPECT_EQ(value, right[i].values[j].second) << name << " of step " << left[i].step;
    }
  }
  for (const char* file : {"config.yaml", "samples.jsonl", "report.html"}) {
    EXPECT_TRUE(std::filesystem::exists(run_folder("broken") / file)) << file;
  }
}

TEST_F(CrinnTrain, RefusesWhatItCannotDoWithTheRightExitCode) {
  const auto expect = [&](std::vector<std::string> extra, int code, const std::string& part) {
    SCOPED_TRACE(extra.front());
    const ProcessResult result = run(std::move(extra));
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  };
  expect({"grpo.group_siz=3"}, 2, "unknown key 'grpo.group_siz'");
  expect({"--no-such-flag"}, 2, "--no-such-flag");
  expect({"dataset=/no/such.hdf5"}, 3, "/no/such.hdf5");
  write_file_atomic(run_folder("plain.h"), "#pragma once\n");
  expect({"seeds.modules=[" + run_folder("plain.h").string() + "]"}, 3, "plain.h");
  expect({"queries.train=1000"}, 2, "has 240 queries");
  expect({"name=absent", "--resume", "/no/checkpoint"}, 2, "no run to resume");
  write_file_atomic(run_folder("foreign") / "archive.sqlite", std::string(9000, 'x'));
  expect({"name=foreign"}, 3, "archive.sqlite");
  write_file_atomic(run_folder("old") / "config.yaml",
                    std::string(kConfig) + "name: old\nseed: 9\n");
  write_file_atomic(run_folder("old") / "checkpoints" / "step-000000" / "state.json", "{}");
  expect({"name=old"}, 2, "--resume auto");
  expect({"name=old", "--resume", "auto"}, 2, "another '");
}

TEST_F(CrinnTrain, DryRunChecksOneCandidateAndTrainsNothing) {
  const ProcessResult result = run({"--dry-run"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"isolation:", "million parameters", "one search candidate", "plan:"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << result.out;
  }
  EXPECT_FALSE(std::filesystem::exists(run_folder("run") / "archive.sqlite"));
}

TEST(TensorBoard, ReadsTheEventFilesOfAResumedRun) {
  const TemporaryFolder folder;
  {
    RunLog log(folder.path(), true, -1, nullptr);
    for (int step = 1; step <= 4; ++step) {
      log.metrics(step, {{"reward", step / 3.0}, {"clip_ratio/low_mean", -1e-9 * step}});
    }
  }
  // Event files are told apart by the second they begin in.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  RunLog log(folder.path(), true, 2, nullptr);
  for (int step = 3; step <= 300; step *= 10) {
    log.metrics(step, {{"reward", -step * 1e10}, {"timing_s/judge", 0}});
  }
  const ProcessResult peer =
      run_process({"python3", CRINN_TEST_SCRIPTS "/tensorboard_peer.py", folder.path()});
  if (peer.exit_code == 77) GTEST_SKIP() << "python3 cannot import tensorboard: " << peer.out;
  EXPECT_EQ(peer.exit_code, 0) << peer.out << peer.err;
}

}  // namespace
}  // namespace crinn::train
