// SPDX-License-Identifier: Apache-2.0
// Runs the crinn-eval binary as a person would, on a small generated set.
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "crinn/ann/exact_distance.h"
#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"
#include "crinn/eval/dataset.h"
#include "crinn/harness/judge.h"

namespace crinn::eval {
namespace {

const std::string kData = "synthetic:n=2000,d=16,clusters=8,metric=euclidean,seed=5,queries=200";

ProcessResult crinn_eval(std::vector<std::string> arguments, const TemporaryFolder& folder) {
  arguments.insert(arguments.begin(), CRINN_EVAL_PATH);
  for (const std::string& more : {std::string("--cache"), (folder.path() / "cache").string()}) {
    arguments.push_back(more);
  }
  ProcessOptions options;
  options.wall_seconds = 240;
  options.output_bytes = 8 << 20;
  return run_process(arguments, options);
}

/// A race needs the mandatory isolation layers; without them the tool says so and exits with 4.
#define SKIP_WITHOUT_ISOLATION(result) \
  if ((result).exit_code == 4) GTEST_SKIP() << (result).err

std::vector<int32_t> read_ids(const std::string& path) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  EXPECT_GE(file, 0) << path;
  const hid_t dataset = H5Dopen2(file, "neighbors", H5P_DEFAULT);
  std::vector<int32_t> ids(200 * 10);
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, ids.data()), 0);
  H5Dclose(dataset);
  H5Fclose(file);
  return ids;
}

double recall_of(const std::vector<int32_t>& ids, const Dataset& dataset,
                 const GroundTruth& truth) {
  int found = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto query = static_cast<int64_t>(i) / 10;
    const double distance = ann::exact_distance(
        dataset.queries.row(query), dataset.base.row(ids[i]), dataset.base.cols(), dataset.metric);
    found += distance <= truth.distances[static_cast<std::size_t>(query * 10 + 9)] * (1 + 1e-6);
  }
  return found / static_cast<double>(ids.size());
}

TEST(CrinnEval, RacesACandidateAndWritesEveryResult) {
  const TemporaryFolder folder;
  const std::string module = (folder.path() / "my_search.h").string();
  write_file_atomic(module, harness::load_triple("baseline").search.text);
  const std::string out = (folder.path() / "report").string();
  const ProcessResult result = crinn_eval({"--dataset", kData, "--candidate", "search=" + module,
                                           "--runs", "2", "--seconds", "1", "--out", out, "--json"},
                                          folder);
  SKIP_WITHOUT_ISOLATION(result);
  ASSERT_EQ(result.exit_code, 0) << result.err;

  // stdout is exactly one document, the same as results.json.
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(result.out, read_file(out + "/results.json"));
  EXPECT_EQ(json.at("k"), 10);
  EXPECT_EQ(json.at("base_count"), 2000);
  ASSERT_EQ(json.at("systems").size(), 2u);
  EXPECT_EQ(json.at("systems").at(0).at("name"), "baseline");
  EXPECT_EQ(json.at("systems").at(1).at("name"), "search=my_search.h");
  const auto& candidate = json.at("candidate");
  ASSERT_EQ(candidate.at("outcome"), "valid") << candidate.dump(1);
  // The same code on both sides. Loose: this machine may be busy, and speed is not tested here.
  EXPECT_NEAR(candidate.at("auc_ratio").at(0).get<double>(), 1, 0.5);
  EXPECT_FALSE(candidate.at("layers").empty());

  const std::string csv = read_file(out + "/results.csv");
  std::size_t points = 0;
  for (const auto& system : json.at("systems")) points += system.at("points").size();
  EXPECT_EQ(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')), points + 1);
  const std::string html = read_file(out + "/report.html");
  EXPECT_NE(html.find("my_search.h"), std::string::npos);
  EXPECT_NE(html.find("<svg"), std::string::npos);

  // The answers on disk have the recall that the race reported, in the workload's own ids.
  const Dataset dataset = load_dataset(kData);
  const GroundTruth truth =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 10, 1);
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(out + "/results")) {
    if (entry.is_regular_file()) files.insert(entry.path().string());
  }
  EXPECT_EQ(files.size(), points);
  for (const auto& system : json.at("systems")) {
    for (const auto& point : system.at("points")) {
      const std::string tail = "/10/" + system.at("name").get<std::string>() + "/" +
                               std::to_string(point.at("ef").get<int>()) + ".hdf5";
      const auto file = std::find_if(files.begin(), files.end(),
                                     [&](const std::string& path) { return path.ends_with(tail); });
      ASSERT_NE(file, files.end()) << tail;
      EXPECT_NEAR(recall_of(read_ids(*file), dataset, truth), point.at("recall").get<double>(),
                  0.05)
          << tail;
    }
  }
}

TEST(CrinnEval, GivesAVerdictOnAModuleThatDoesNotCompile) {
  const TemporaryFolder folder;
  const std::string module = (folder.path() / "broken.h").string();
  write_file_atomic(module, harness::load_triple("baseline").search.text +
                                "static_assert(sizeof(int) == 3, \"told you\");\n");
  const ProcessResult result = crinn_eval(
      {"--dataset", kData, "--candidate", "search=" + module, "--runs", "2", "--seconds", "0.5"},
      folder);
  SKIP_WITHOUT_ISOLATION(result);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("search=broken.h: does not compile"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("told you"), std::string::npos) << result.out;
}

TEST(CrinnEval, RefusesBadInputWithItsExitCodeAndTheNamesThatExist) {
  const TemporaryFolder folder;
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string says;
  };
  const std::string bad_file = (folder.path() / "bad.hdf5").string();
  write_file_atomic(bad_file, "not HDF5");
  const std::vector<Case> cases = {
      {{}, 2, "--dataset"},
      {{"--dataset", "no-such-set"}, 3, "fashion-mnist"},
      {{"--dataset", bad_file}, 3, "bad.hdf5"},
      {{"--dataset", kData, "--systems", "glass"}, 2, "baseline, champion"},
      {{"--dataset", kData, "--candidate", "seach=x.h"}, 2, "construction, search, refinement"},
      {{"--dataset", kData, "--candidate", "search=/no/such.h"}, 3, "/no/such.h"},
      {{"--dataset", kData, "--candidate", "search"}, 2, "MODULE=FILE"},
      {{"--dataset", kData, "--k", "0"}, 2, "--k"},
      {{"--dataset", kData, "--k", "999", "--queries", "5", "--groundtruth", "file"},
       3,
       "--groundtruth cpu"},
      {{"--dataset", kData, "--metric", "hamming"}, 2, "euclidean, angular, ip"},
      {{"--dataset", kData, "--band", "0.95,0.85"}, 2, "--band"},
      {{"--dataset", kData, "--groundtruth-only"}, 2, "--out"},
      {{"--dataset", kData, "--out", "/dev/null/report"}, 3, "cannot write to /dev/null"},
      {{"--dataset", kData, "--gpu-groundtruth", "--groundtruth", "cpu"}, 2, "contradicts"},
      {{"--dataset", kData, "--gt-k", "5"}, 2, "--gt-k: 5 neighbours do not serve --k 10"},
      {{"--dataset", kData, "--gt-k", "2001"}, 2, "--gt-k: 2001 neighbours of 2000"},
      {{"--dataset", kData, "--gt-memory", "8GB"}, 2, "--gt-memory: '8GB' is no size"},
      {{"--dataset", kData, "--groundtruth", "cpu", "--gt-memory", "1KiB"}, 2, "the least here is"},
      {{"--dataset", kData, "--groundtruth", "file", "--gt-recompute"}, 2, "--gt-recompute"},
      {{"--dataset", kData, "--devices", "0,x"}, 2, "--devices"},
      {{"--dataset", kData, "--devices", "0,1"}, 2, "--devices: the CPU finds the neighbours"},
      {{"--dataset", kData, "--no-such-flag"}, 2, "--no-such-flag"},
  };
  for (const Case& bad : cases) {
    const ProcessResult result = crinn_eval(bad.arguments, folder);
    EXPECT_EQ(result.exit_code, bad.exit_code) << bad.says << "\n" << result.err;
    EXPECT_NE(result.err.find(bad.says), std::string::npos) << result.err;
    EXPECT_TRUE(result.out.empty()) << result.out;
  }
}

TEST(CrinnEval, WithoutADeviceGpuGroundTruthExitsWith4AndNamesTheWayOut) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "truth.hdf5").string();
  const ProcessResult result = crinn_eval(
      {"--dataset", kData, "--gpu-groundtruth", "--groundtruth-only", "--out", file}, folder);
  if (result.exit_code == 0) GTEST_SKIP() << "there is a device here";
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_NE(result.err.find("--groundtruth cpu gives the identical result"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(CrinnEval, GpuAndCpuWriteIdenticalFiles) {
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

TEST(CrinnEval, WritesGroundTruthOnly) {
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

TEST(CrinnEval, WritesAndVerifiesAPairForCuvsBench) {
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

TEST(CrinnEval, TakesTheTruthFromTheCacheUnlessToldNotTo) {
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

TEST(CrinnEval, StreamsABaseThatItsMemoryDoesNotHoldToTheSameBytes) {
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

TEST(CrinnEval, SharesTheCacheBetweenABaseInMemoryAndInSlices) {
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

TEST(CrinnEval, NamesTheLeastMemoryOfSlices) {
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

TEST(CrinnEval, ExitsWith3WhereStoredTruthIsNotTheNearest) {
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

TEST(CrinnEval, HelpShowsExamplesAndVersionItsNumber) {
  const TemporaryFolder folder;
  const ProcessResult help = run_process({CRINN_EVAL_PATH, "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.out.find("Examples:"), std::string::npos);
  EXPECT_NE(help.out.find("--gpu-groundtruth"), std::string::npos);
  EXPECT_EQ(run_process({CRINN_EVAL_PATH, "--version"}).out, "crinn-eval " CRINN_VERSION "\n");
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

TEST(CrinnEval, CtrlCLeavesNothingHalfWritten) {
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

TEST(CrinnEval, CtrlCWhileABaseIsStreamedLeavesNothingHalfWritten) {
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

TEST(CrinnEval, CtrlCDuringVerificationKeepsWhatWasWritten) {
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
