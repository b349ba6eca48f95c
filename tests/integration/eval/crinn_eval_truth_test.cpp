// SPDX-License-Identifier: Apache-2.0
// crinn-eval as one that only wants ground truth.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "crinn/eval/dataset.h"
#include "run_crinn_eval.h"

namespace crinn::eval {
namespace {

TEST(CrinnEvalTruth, WithoutADeviceGpuGroundTruthExitsWith4AndNamesTheWayOut) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "truth.hdf5").string();
  const ProcessResult result = crinn_eval(
      {"--dataset", kData, "--gpu-groundtruth", "--groundtruth-only", "--out", file}, folder);
  if (result.exit_code == 0) GTEST_SKIP() << "there is a device here";
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_NE(result.err.find("--groundtruth cpu gives the identical result"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(CrinnEvalTruth, GpuAndCpuWriteIdenticalFiles) {
  const TemporaryFolder folder;
  for (const std::string& name : {std::string("truth.hdf5"), std::string("truth.ibin")}) {
    std::vector<std::string> contents;
    for (const std::string& source : {std::string("cpu"), std::string("gpu")}) {
      const std::string file = (folder.path() / source).concat("-").concat(name).string();
      const ProcessResult result =
          crinn_eval({"--dataset", kData, "--groundtruth", source, "--groundtruth-only", "--gt-k",
                      "100", "--verify", "10", "--gt-recompute", "--out", file},
                     folder);
      if (source == "gpu" && result.exit_code == 4) GTEST_SKIP() << result.err;
      ASSERT_EQ(result.exit_code, 0) << result.err;
      contents.push_back(read_file(file));
    }
    EXPECT_EQ(contents[0], contents[1]) << name;
  }
}

TEST(CrinnEvalTruth, WritesGroundTruthOnly) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "truth.ibin").string();
  const ProcessResult result = crinn_eval(
      {"--dataset", kData, "--groundtruth-only", "--out", file, "--json", "--k", "7"}, folder);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("k"), 7);
  EXPECT_EQ(json.at("groundtruth"), "cpu");
  EXPECT_EQ(std::filesystem::file_size(file), 8u + 200 * 7 * 8);
}

TEST(CrinnEvalTruth, WritesAndVerifiesAPairForCuvsBench) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "groundtruth.neighbors.ibin").string();
  const ProcessResult result =
      crinn_eval({"--dataset", kData, "--groundtruth-only", "--out", file, "--gt-k", "25",
                  "--verify", "20", "--gt-memory", "64MiB"},
                 folder);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("20 of 20 queries agree"), std::string::npos) << result.err;
  EXPECT_EQ(std::filesystem::file_size(file), 8u + 200 * 25 * 4);
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "groundtruth.distances.fbin"),
            8u + 200 * 25 * 4);
}

TEST(CrinnEvalTruth, TakesTheTruthFromTheCacheUnlessToldNotTo) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "truth.ibin").string();
  std::vector<std::string> arguments = {"--dataset", kData,    "--groundtruth-only", "--out",
                                        file,        "--json", "--verify",           "200"};
  std::string first;
  for (const bool cached : {false, true}) {
    const ProcessResult result = crinn_eval(arguments, folder);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(nlohmann::json::parse(result.out).at("cached"), cached);
    EXPECT_EQ(result.err.find("from the cache") != std::string::npos, cached) << result.err;
    if (!cached) first = read_file(file);
    EXPECT_EQ(read_file(file), first);
  }
  arguments.push_back("--gt-recompute");
  const ProcessResult again = crinn_eval(arguments, folder);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(nlohmann::json::parse(again.out).at("cached"), false);
  EXPECT_EQ(read_file(file), first);
}

/// A data set in files of both kinds: "BASE,QUERIES" and HDF5.
std::vector<std::string> save_files(const Dataset& dataset, const std::filesystem::path& folder) {
  const auto save = [&](const char* name, const Matrix& rows) {
    const uint32_t header[] = {static_cast<uint32_t>(rows.rows()),
                               static_cast<uint32_t>(rows.cols())};
    std::string bytes(reinterpret_cast<const char*>(header), sizeof header);
    bytes.append(reinterpret_cast<const char*>(rows.row(0)),
                 static_cast<std::size_t>(rows.rows() * rows.cols()) * sizeof(float));
    write_file_atomic(folder / name, bytes);
    return (folder / name).string();
  };
  const std::string hdf5 = (folder / "set.hdf5").string();
  write_hdf5(dataset, hdf5);
  return {save("b.fbin", dataset.base) + "," + save("q.fbin", dataset.queries), hdf5};
}

TEST(CrinnEvalTruth, StreamsABaseThatItsMemoryDoesNotHoldToTheSameBytes) {
  const TemporaryFolder folder;
  const Dataset dataset =
      load_dataset("synthetic:n=9000,d=64,clusters=5,metric=ip,seed=5,queries=200");
  const std::vector<std::string> suffixes = {".hdf5", ".h5", ".ibin", ".bin", ".neighbors.ibin"};
  std::vector<std::string> expected(suffixes.size());
  for (const std::string& name : save_files(dataset, folder.path())) {
    for (const std::string& memory : {std::string("1GiB"), std::string("4MiB")}) {
      for (std::size_t i = 0; i < suffixes.size(); ++i) {
        SCOPED_TRACE(name + ", " + memory + ", " + suffixes[i]);
        const std::string file = (folder.path() / "truth").concat(suffixes[i]).string();
        const ProcessResult result =
            crinn_eval({"--dataset", name, "--metric", "ip", "--groundtruth-only", "--out", file,
                        "--gt-memory", memory, "--verify", "3", "--gt-recompute"},
                       folder);
        ASSERT_EQ(result.exit_code, 0) << result.err;
        EXPECT_EQ(result.err.find("read in ") != std::string::npos, memory == "4MiB") << result.err;
        EXPECT_NE(result.err.find("3 of 3 queries agree"), std::string::npos) << result.err;
        std::string content = read_file(file);
        if (suffixes[i] == ".neighbors.ibin") {
          content += read_file((folder.path() / "truth.distances.fbin").string());
        }
        if (expected[i].empty()) expected[i] = content;
        EXPECT_TRUE(content == expected[i]);
      }
    }
  }
}

TEST(CrinnEvalTruth, SharesTheCacheBetweenABaseInMemoryAndInSlices) {
  const TemporaryFolder folder;
  const Dataset dataset =
      load_dataset("synthetic:n=9000,d=64,clusters=5,metric=angular,seed=5,queries=200");
  const std::string file = (folder.path() / "truth.ibin").string();
  bool cached = false;
  for (const std::string& name : save_files(dataset, folder.path())) {
    for (const std::string& memory : {std::string("4MiB"), std::string("1GiB")}) {
      const ProcessResult result =
          crinn_eval({"--dataset", name, "--metric", "angular", "--groundtruth-only", "--out", file,
                      "--gt-memory", memory, "--json"},
                     folder);
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(nlohmann::json::parse(result.out).at("cached"), cached) << name << ", " << memory;
      cached = true;
    }
  }
}

TEST(CrinnEvalTruth, NamesTheLeastMemoryOfSlices) {
  const TemporaryFolder folder;
  const Dataset dataset =
      load_dataset("synthetic:n=30000,d=64,clusters=5,metric=l2,seed=5,queries=200");
  const std::string file = (folder.path() / "truth.ibin").string();
  for (const std::string& name : save_files(dataset, folder.path())) {
    const auto run_within = [&](const std::string& memory) {
      return crinn_eval({"--dataset", name, "--groundtruth-only", "--out", file, "--gt-memory",
                         memory, "--metric", "l2"},
                        folder);
    };
    const ProcessResult refused = run_within("20KiB");
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_FALSE(std::filesystem::exists(file));
    constexpr std::string_view kSays = "the least here is ";
    const std::size_t at = refused.err.find(kSays);
    ASSERT_NE(at, std::string::npos) << refused.err;
    const ProcessResult least =
        run_within(std::to_string(std::stoi(refused.err.substr(at + kSays.size()))) + "MiB");
    EXPECT_EQ(least.exit_code, 0) << least.err;
    EXPECT_NE(least.err.find("slices"), std::string::npos) << least.err;
    std::filesystem::remove(file);
  }
}

TEST(CrinnEvalTruth, ExitsWith3WhereStoredTruthIsNotTheNearest) {
  const TemporaryFolder folder;
  Dataset dataset = load_dataset(kData);
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 10, 1);
  // The tenth neighbour of query 3 becomes a row that is far off.
  const GroundTruth all =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 2000, 1);
  dataset.truth.ids[3 * 10 + 9] = all.ids[3 * 2000 + 1999];
  const std::string file = (folder.path() / "wrong.hdf5").string();
  write_hdf5(dataset, file);
  const std::string out = (folder.path() / "truth.ibin").string();
  const std::vector<std::string> arguments = {
      "--dataset", file, "--groundtruth-only", "--out", out, "--verify", "200", "--k", "10"};
  const ProcessResult result = crinn_eval(arguments, folder);
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find("1 of 200 queries"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("query 3"), std::string::npos) << result.err;
  // What may have taken hours is kept, and the message says which file is wrong.
  EXPECT_TRUE(std::filesystem::exists(out));
  EXPECT_NE(result.err.find(out), std::string::npos) << result.err;
}

/// How a run ended that was interrupted.
struct Interrupted {
  bool sent = false;
  int status = 0;  ///< as waitpid() gives it
  std::string text;
};

/// Sends `signal` as soon as the output holds `trigger`.
Interrupted interrupt_at(const std::string& trigger, int signal,
                         std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), CRINN_EVAL_PATH);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  Interrupted result;
  int pipe_ends[2];
  EXPECT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], STDERR_FILENO);
    dup2(pipe_ends[1], STDOUT_FILENO);
    close(pipe_ends[0]);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(pipe_ends[1]);
  char buffer[512];
  ssize_t got = 0;
  while ((got = read(pipe_ends[0], buffer, sizeof buffer)) > 0) {
    result.text.append(buffer, static_cast<std::size_t>(got));
    if (!result.sent && result.text.find(trigger) != std::string::npos) {
      kill(child, signal);
      result.sent = true;
    }
  }
  close(pipe_ends[0]);
  waitpid(child, &result.status, 0);
  return result;
}

TEST(CrinnEvalTruth, CtrlCLeavesNothingHalfWritten) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "report").string();
  const Interrupted run = interrupt_at("judging", SIGINT,
                                       {"--dataset", kData, "--seconds", "600", "--out", out,
                                        "--cache", (folder.path() / "cache").string()});
  if (WIFEXITED(run.status) && WEXITSTATUS(run.status) == 4) GTEST_SKIP() << run.text;
  ASSERT_TRUE(run.sent) << run.text;
  ASSERT_TRUE(WIFEXITED(run.status)) << run.text;
  EXPECT_EQ(WEXITSTATUS(run.status), 130) << run.text;
  EXPECT_NE(run.text.find("interrupted, no results"), std::string::npos) << run.text;
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(CrinnEvalTruth, CtrlCWhileABaseIsStreamedLeavesNothingHalfWritten) {
  const TemporaryFolder folder;
  // Far more slices than are searched before the signal comes: seconds on any machine.
  const Dataset dataset =
      load_dataset("synthetic:n=60000,d=64,clusters=5,metric=l2,seed=5,queries=2000");
  const std::vector<std::string> names = save_files(dataset, folder.path());
  const std::string out = (folder.path() / "out" / "truth.neighbors.ibin").string();
  const std::string cache = (folder.path() / "cache").string();
  for (const std::string& name : names) {
    for (const int signal : {SIGINT, SIGTERM}) {
      const Interrupted run = interrupt_at(
          "slices", signal,
          {"--dataset", name, "--metric", "l2", "--groundtruth-only", "--out", out, "--gt-memory",
           "24MiB", "--gt-k", "100", "--k", "10", "--threads", "1", "--cache", cache});
      ASSERT_TRUE(run.sent) << run.text;
      ASSERT_TRUE(WIFEXITED(run.status)) << run.text;
      EXPECT_EQ(WEXITSTATUS(run.status), 128 + signal) << run.text;
      EXPECT_NE(run.text.find("interrupted, no results"), std::string::npos) << run.text;
      EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
      EXPECT_FALSE(std::filesystem::exists(cache));
    }
  }
}

TEST(CrinnEvalTruth, CtrlCDuringVerificationKeepsWhatWasWritten) {
  const TemporaryFolder folder;
  const Dataset dataset =
      load_dataset("synthetic:n=60000,d=64,clusters=5,metric=l2,seed=5,queries=500");
  const std::string name = save_files(dataset, folder.path()).front();
  const std::string out = (folder.path() / "out" / "truth.ibin").string();
  const Interrupted run = interrupt_at(
      "exact neighbours of", SIGINT,
      {"--dataset", name, "--metric", "l2", "--groundtruth-only", "--out", out, "--gt-memory",
       "8MiB", "--threads", "1", "--verify", "500", "--cache", (folder.path() / "cache").string()});
  ASSERT_TRUE(run.sent) << run.text;
  ASSERT_TRUE(WIFEXITED(run.status)) << run.text;
  EXPECT_EQ(WEXITSTATUS(run.status), 130) << run.text;
  EXPECT_NE(run.text.find("what was written is whole"), std::string::npos) << run.text;
  EXPECT_EQ(std::filesystem::file_size(out), 8u + 500 * 10 * 8);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path() / "out"), {}), 1);
}

}  // namespace
}  // namespace crinn::eval
