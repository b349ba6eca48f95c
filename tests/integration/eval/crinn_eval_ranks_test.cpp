// SPDX-License-Identifier: Apache-2.0
// Runs several crinn-eval processes as torchrun and srun start them.
#include <gtest/gtest.h>

#include <thread>

#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"
#include "crinn/eval/dataset.h"

namespace crinn::eval {
namespace {

using Arguments = std::vector<std::string>;

ProcessResult crinn_eval(Arguments arguments, const TemporaryFolder& folder,
                         const std::vector<std::string>& environment = {}) {
  arguments.insert(arguments.begin(), CRINN_EVAL_PATH);
  arguments.insert(arguments.end(), {"--cache", (folder.path() / "cache").string()});
  ProcessOptions options;
  options.wall_seconds = 240;
  options.environment = environment;
  return run_process(arguments, options);
}

std::vector<std::string> torchrun(int rank, int size) {
  const std::string number = std::to_string(rank);
  return {"RANK=" + number, "LOCAL_RANK=" + number, "WORLD_SIZE=" + std::to_string(size),
          "TORCHELASTIC_RUN_ID=ab"};
}

std::vector<std::string> srun(int rank, int size) {
  const std::string number = std::to_string(rank);
  return {"SLURM_PROCID=" + number, "SLURM_LOCALID=" + number,
          "SLURM_STEP_NUM_TASKS=" + std::to_string(size), "SLURM_JOB_ID=5", "SLURM_STEP_ID=0"};
}

/// All ranks at once; arguments(rank) are theirs.
template <class Of>
std::vector<ProcessResult> run_ranks(int size, std::vector<std::string> (*launcher)(int, int),
                                     const TemporaryFolder& folder, const Of& arguments) {
  std::vector<ProcessResult> results(static_cast<std::size_t>(size));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      Arguments all = arguments(rank);
      all.insert(all.end(), {"--rendezvous", (folder.path() / "meet").string()});
      results[static_cast<std::size_t>(rank)] = crinn_eval(all, folder, launcher(rank, size));
    });
  }
  threads.clear();  // joins
  return results;
}

std::string save(const std::filesystem::path& path, const Matrix& rows) {
  const uint32_t header[] = {static_cast<uint32_t>(rows.rows()),
                             static_cast<uint32_t>(rows.cols())};
  std::string bytes(reinterpret_cast<const char*>(header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(rows.row(0)),
               static_cast<std::size_t>(rows.rows() * rows.cols()) * sizeof(float));
  write_file_atomic(path, bytes);
  return path.string();
}

const std::string kMade = "synthetic:n=3001,d=16,clusters=8,metric=angular,seed=5,queries=100";

TEST(CrinnEvalRanks, WriteTheFileThatOneProcessWrites) {
  const TemporaryFolder folder;
  const Dataset made = load_dataset(kMade);
  const std::string flat = save(folder.path() / "b.fbin", made.base) + "," +
                           save(folder.path() / "q.fbin", made.queries);
  const std::string hdf5 = (folder.path() / "made.hdf5").string();
  write_hdf5(made, hdf5);
  for (const std::string& data : {kMade, flat, hdf5}) {
    const auto arguments = [&](const std::string& out) {
      return Arguments{"--dataset",
                       data,
                       "--metric",
                       "angular",
                       "--groundtruth-only",
                       "--threads",
                       "1",
                       "--gt-k",
                       "20",
                       "--queries",
                       "77",
                       "--out",
                       (folder.path() / out).string()};
    };
    ASSERT_EQ(crinn_eval(arguments("one.ibin"), folder).exit_code, 0);
    for (const auto launcher : {torchrun, srun}) {
      const auto results = run_ranks(3, launcher, folder, [&](int rank) {
        Arguments all = arguments("three.ibin");
        if (rank == 0) all.insert(all.end(), {"--verify", "20", "--json"});
        if (rank == 1) all.insert(all.end(), {"--gt-memory", "64MiB"});
        return all;
      });
      for (const ProcessResult& result : results) ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(read_file(folder.path() / "three.ibin"), read_file(folder.path() / "one.ibin"));
      EXPECT_NE(results[0].err.find("20 of 20 queries agree"), std::string::npos);
      EXPECT_NE(results[0].out.find("\"groundtruth\": \"cpu\""), std::string::npos);
      EXPECT_EQ(results[1].out + results[2].out, "");
      std::filesystem::remove(folder.path() / "three.ibin");
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "meet"));
}

TEST(CrinnEvalRanks, NameTheRankThatCannotReadItsFile) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "truth.ibin").string();
  const auto results = run_ranks(3, torchrun, folder, [&](int rank) {
    return Arguments{"--dataset", rank == 1 ? "no-such.hdf5" : kMade, "--groundtruth-only", "--out",
                     out};
  });
  EXPECT_EQ(results[1].exit_code, 3);
  EXPECT_EQ(results[1].err.find("crinn-eval: rank 1: "), 0u) << results[1].err;
  for (const int rank : {0, 2}) {
    const ProcessResult& result = results[static_cast<std::size_t>(rank)];
    EXPECT_EQ(result.exit_code, 4);
    EXPECT_NE(result.err.find("rank 1 has left"), std::string::npos) << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(CrinnEvalRanks, NameTheRanksWhoseDataDiffer) {
  const TemporaryFolder folder;
  const auto results = run_ranks(2, torchrun, folder, [&](int rank) {
    return Arguments{"--dataset",
                     kMade,
                     "--groundtruth-only",
                     "--queries",
                     rank == 0 ? "50" : "40",
                     "--out",
                     (folder.path() / "truth.ibin").string()};
  });
  for (const ProcessResult& result : results) {
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find("rank 0 has 50 queries of 16 dimensions, k = 10, angular; rank 1 has "
                              "40 queries"),
              std::string::npos)
        << result.err;
  }
}

TEST(CrinnEvalRanks, RefuseWhatTheyCannotShare) {
  const TemporaryFolder folder;
  const std::string out = (folder.path() / "truth.ibin").string();
  const auto refused = [&](const Arguments& arguments, const std::string& reason) {
    const ProcessResult result = crinn_eval(arguments, folder, torchrun(0, 2));
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(reason), std::string::npos) << result.err;
  };
  refused({"--dataset", kMade, "--rendezvous", out}, "2 ranks were started");
  refused({"--dataset", kMade, "--groundtruth-only", "--out", out, "--groundtruth", "file",
           "--rendezvous", out},
          "--groundtruth file: 2 ranks");
  refused({"--dataset", kMade, "--groundtruth-only", "--out", out, "--gpu-groundtruth", "--devices",
           "0", "--rendezvous", out},
          "--devices: of several ranks");
  refused({"--dataset", kMade, "--groundtruth-only", "--out", out}, "MASTER_ADDR is not set");
  const ProcessResult alone = crinn_eval({"--dataset", kMade, "--rendezvous", out}, folder);
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_NE(alone.err.find("--rendezvous: neither"), std::string::npos) << alone.err;
}

TEST(CrinnEvalRanks, NameTheRankThatDoesNotCome) {
  const TemporaryFolder folder;
  const auto result = crinn_eval(
      {"--dataset", kMade, "--groundtruth-only", "--out", (folder.path() / "truth.ibin").string(),
       "--rank-timeout", "1", "--rendezvous", (folder.path() / "meet").string()},
      folder, torchrun(0, 3));
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_NE(result.err.find("these did not come to"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find(": 1, 2"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace crinn::eval
