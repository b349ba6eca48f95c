// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/comm.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <latch>
#include <map>

#include "crinn/base/files.h"
#include "crinn/gpu/knn.h"
#include "host_comm.h"
#include "ranks.h"

namespace crinn::gpu {
namespace {

using namespace std::chrono_literals;

/// Long enough for any machine to come, short where someone must be missed.
constexpr CommTimeouts kPatient = {60s, 60s}, kShort = {400ms, 400ms};

std::vector<std::byte> bytes_of(int rank, int round, std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>(i * 7 + static_cast<std::size_t>(rank * 31 + round));
  }
  return bytes;
}

/// Several rounds of different sizes.
void expect_gathered(Comm& comm, int rank, int size) {
  ASSERT_EQ(comm.rank(), rank);
  ASSERT_EQ(comm.size(), size);
  int round = 0;
  for (const std::size_t count : {1, 0, 5, 3'000'001, 8}) {
    ++round;
    std::vector<std::byte> expected;
    for (int r = 0; r < size; ++r) {
      const auto part = bytes_of(r, round, count);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_EQ(comm.all_gather(bytes_of(rank, round, count)), expected);
  }
}

// Ranks that are threads.

TEST(LocalComms, GatherInTheOrderOfRanks) {
  for (const int size : {1, 2, 5}) {
    auto comms = make_local_comms(size);
    for (const RankEnd& end : run_ranks(size, [&](int rank) {
           expect_gathered(*comms[static_cast<std::size_t>(rank)], rank, size);
         })) {
      EXPECT_EQ(end.message, "");
    }
  }
}

TEST(LocalComms, OneThatThrowsIsNamedByTheOthers) {
  auto comms = make_local_comms(3);
  const auto ends = run_ranks(3, [&](int rank) {
    const std::unique_ptr<Comm> comm = std::move(comms[static_cast<std::size_t>(rank)]);
    comm->all_gather({});
    if (rank == 1) throw Error(ErrorCategory::kData, "no such file");
    comm->all_gather({});
  });
  EXPECT_EQ(ends[1].message, "no such file");
  for (const int rank : {0, 2}) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(mentions(end, "rank 1 has left")) << end.message;
    EXPECT_TRUE(mentions(end, "rank " + std::to_string(rank) + " of 3")) << end.message;
  }
}

TEST(LocalComms, OfDifferentSizesAreRefusedOnEveryRank) {
  auto comms = make_local_comms(3);
  for (const RankEnd& end : run_ranks(3, [&](int rank) {
         comms[static_cast<std::size_t>(rank)]->all_gather(bytes_of(0, 0, rank == 2 ? 4 : 3));
       })) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "rank 0 gives 3 bytes, rank 2 gives 4")) << end.message;
  }
  EXPECT_THROW(make_local_comms(0), Error);
}

// Ranks that meet by TCP; here threads stand for processes.

std::string free_address() { return "localhost:" + std::to_string(Socket::listen(0).port()); }

Launch launch(int rank, int size, const std::string& rendezvous, const std::string& run = "") {
  return {rank, size, rank, rendezvous, run};
}

TEST(HostComm, GathersInTheOrderOfRanksByAddressAndByFile) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "meet").string();
  for (const std::string& rendezvous : {free_address(), file}) {
    for (const int size : {1, 2, 5}) {
      for (const RankEnd& end : run_ranks(size, [&](int rank) {
             const auto comm = make_host_comm(launch(rank, size, rendezvous), kPatient);
             expect_gathered(*comm, rank, size);
           })) {
        EXPECT_EQ(end.message, "");
      }
    }
  }
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(HostComm, WaitsForWhoeverIsLate) {
  for (const int late : {0, 1}) {
    const std::string address = free_address();
    for (const RankEnd& end : run_ranks(3, [&](int rank) {
           if (rank == late) std::this_thread::sleep_for(300ms);
           make_host_comm(launch(rank, 3, address), kPatient)->all_gather({});
         })) {
      EXPECT_EQ(end.message, "");
    }
  }
}

TEST(HostComm, NamesWhoDoesNotCome) {
  const TemporaryFolder folder;
  for (const std::string& rendezvous : {free_address(), (folder.path() / "meet").string()}) {
    for (const int missing : {0, 2}) {
      const auto ends = run_ranks(4, [&](int rank) {
        if (rank != missing) make_host_comm(launch(rank, 4, rendezvous), kShort);
      });
      for (int rank = 0; rank < 4; ++rank) {
        if (rank == missing) continue;
        const RankEnd& end = ends[static_cast<std::size_t>(rank)];
        EXPECT_EQ(end.exit_code, 4);
        const std::string expected = missing == 0 ? "rank 0 is not at " + rendezvous
                                                  : "these did not come to " + rendezvous + ": 2";
        EXPECT_TRUE(mentions(end, expected)) << end.message;
      }
    }
  }
}

TEST(HostComm, RefusesAnotherNumberOfRanksOnBothSides) {
  const std::string address = free_address();
  const auto ends = run_ranks(
      2, [&](int rank) { make_host_comm(launch(rank, rank == 0 ? 3 : 2, address), kPatient); });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "rank 0 is one of 3 ranks, rank 1 one of 2")) << end.message;
  }
}

TEST(HostComm, RefusesARankThatComesTwice) {
  const std::string address = free_address();
  const auto ends = run_ranks(
      3, [&](int rank) { make_host_comm(launch(rank == 0 ? 0 : 1, 3, address), kPatient); });
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "rank 1 came twice")) << end.message;
  }
}

TEST(HostComm, IsNotMisledByAFileThatAnEarlierRunLeft) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "meet").string();
  const Socket silent = Socket::listen(0);  // somebody who took the port since, and says nothing
  const std::string head = "crinn-rendezvous-1 localhost ";
  const std::string port = std::to_string(silent.port());
  const int closed = Socket::listen(0).port();
  for (const std::string& content :
       {head + std::to_string(closed) + " run-1-ab\n",  // nobody is there any more
        head + port + " run-1-ab\n",                    // its port is the silent one's now
        head + port + " other-1-ab\n",                  // it says that it is another run's
        std::string("half a li"), std::string()}) {
    write_file_atomic(file, content);
    for (const RankEnd& end : run_ranks(2, [&](int rank) {
           if (rank == 0) std::this_thread::sleep_for(100ms);  // rank 1 reads the old file first
           make_host_comm(launch(rank, 2, file, "run"), kPatient)->all_gather({});
         })) {
      EXPECT_EQ(end.message, "") << content;
    }
  }
  // Where rank 0 never comes, what stood in the way is said.
  write_file_atomic(file, head + port + " other-1-ab\n");
  const auto ends = run_ranks(1, [&](int) { make_host_comm(launch(1, 2, file, "run"), kShort); });
  EXPECT_TRUE(mentions(ends[0], "is of another run")) << ends[0].message;
}

TEST(HostComm, KeepsRunsApartThatShareAnAddress) {
  const std::string address = free_address();
  const auto ends = run_ranks(3, [&](int rank) {
    if (rank == 2) {
      make_host_comm(launch(1, 2, address, "b"), kShort);
      return;
    }
    if (rank == 1) std::this_thread::sleep_for(200ms);  // b's rank 1 is there first
    make_host_comm(launch(rank, 2, address, "a"), kPatient)->all_gather({});
  });
  EXPECT_EQ(ends[0].message, "");
  EXPECT_EQ(ends[1].message, "");
  EXPECT_TRUE(mentions(ends[2], "rank 0 is not at " + address)) << ends[2].message;
}

TEST(HostComm, NamesARankThatLeaves) {
  const std::string address = free_address();
  const auto ends = run_ranks(4, [&](int rank) {
    const auto comm = make_host_comm(launch(rank, 4, address), kPatient);
    if (rank == 2) throw Error(ErrorCategory::kData, "no such file");
    comm->all_gather(bytes_of(rank, 0, 2'000'000));
  });
  for (const int rank : {0, 1, 3}) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(mentions(end, "rank 2 has left")) << end.message;
    EXPECT_TRUE(mentions(end, "rank " + std::to_string(rank) + " of 4")) << end.message;
  }
}

TEST(HostComm, NamesRankZeroWhenItLeaves) {
  const std::string address = free_address();
  const auto ends = run_ranks(2, [&](int rank) {
    const auto comm = make_host_comm(launch(rank, 2, address), kPatient);
    if (rank == 1) comm->all_gather({});
  });
  EXPECT_TRUE(mentions(ends[1], "rank 0 has left")) << ends[1].message;
}

TEST(HostComm, NamesAProcessThatDies) {
  const std::string address = free_address();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      HostComm comm(launch(1, 3, address), kPatient);
      comm.all_gather({});
      _exit(0);  // no destructor: as if killed
    } catch (...) {
      _exit(1);
    }
  }
  const auto ends = run_ranks(2, [&](int thread) {
    const auto comm = make_host_comm(launch(thread == 0 ? 0 : 2, 3, address), kPatient);
    comm->all_gather({});
    comm->all_gather({});
  });
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(mentions(end, "rank 1 is gone")) << end.message;
  }
}

TEST(HostComm, NamesARankThatIsAliveButDoesNotCall) {
  const std::string address = free_address();
  std::latch over(2);
  const auto ends = run_ranks(3, [&](int rank) {
    const auto comm = make_host_comm(launch(rank, 3, address), {60s, 400ms});
    if (rank == 1) return over.wait();
    try {
      comm->all_gather(bytes_of(rank, 0, 100));
    } catch (...) {
      over.count_down();
      throw;
    }
    over.count_down();
  });
  EXPECT_EQ(ends[1].message, "");
  for (const int rank : {0, 2}) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(mentions(end, "it was not called by rank 1")) << end.message;
  }
}

TEST(HostComm, OfDifferentSizesAreRefusedOnEveryRank) {
  const std::string address = free_address();
  for (const RankEnd& end : run_ranks(3, [&](int rank) {
         make_host_comm(launch(rank, 3, address), kPatient)
             ->all_gather(bytes_of(0, 0, rank == 2 ? 4 : 3));
       })) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "rank 0 gives 3 bytes, rank 2 gives 4")) << end.message;
  }
}

/// Waits as NCCL's ranks do, until watch() throws.
void watch_until_it_throws(HostComm& comm) {
  for (const Deadline end = Clock::now() + 60s; Clock::now() < end;) {
    comm.watch("ncclAllGather");
    std::this_thread::sleep_for(1ms);
  }
}

TEST(HostComm, WatchHearsOfAFailureOnAnyRank) {
  for (const int failing : {0, 2}) {
    const std::string address = free_address();
    const auto ends = run_ranks(3, [&](int rank) {
      HostComm comm(launch(rank, 3, address), kPatient);
      comm.watch("ncclAllGather");
      comm.all_gather({});
      if (rank == failing) comm.fail(ErrorCategory::kDevice, "ncclAllGather", "no memory");
      watch_until_it_throws(comm);
    });
    for (int rank = 0; rank < 3; ++rank) {
      const RankEnd& end = ends[static_cast<std::size_t>(rank)];
      EXPECT_EQ(end.exit_code, 4);
      EXPECT_TRUE(end.message.starts_with("ncclAllGather: rank ")) << end.message;
      const std::string expected =
          rank == failing ? "no memory" : "rank " + std::to_string(failing) + ": no memory";
      EXPECT_TRUE(mentions(end, expected)) << end.message;
    }
  }
}

TEST(HostComm, WatchKeepsWhatIsMeantForTheNextGatherAndAllowsLeaving) {
  const std::string address = free_address();
  for (const RankEnd& end : run_ranks(2, [&](int rank) {
         HostComm comm(launch(rank, 2, address), kPatient);
         for (int i = 0; rank == 0 && i < 100; ++i) {
           comm.watch("ncclAllGather");  // rank 1 gives its first part meanwhile
           std::this_thread::sleep_for(1ms);
         }
         expect_gathered(comm, rank, 2);
         for (int i = 0; rank == 0 && i < 100; ++i) {
           comm.watch("ncclAllGather");  // rank 1 leaves meanwhile
           std::this_thread::sleep_for(1ms);
         }
       })) {
    EXPECT_EQ(end.message, "");
  }
}

// NCCL itself needs devices: tests/gpu.

TEST(NcclComm, WithoutADeviceIsADeviceErrorThatSaysWhatIsMissing) {
  const DeviceStatus status = device_status();
  if (status.available) GTEST_SKIP() << "there is a device: " << status.name;
  const std::string address = free_address();
  for (const RankEnd& end :
       run_ranks(2, [&](int rank) { make_nccl_comm(launch(rank, 2, address), 0, kPatient); })) {
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(mentions(end, "CUDA")) << end.message;
  }
}

// What launchers say.

Launch find(const std::map<std::string, std::string>& variables, std::string_view given = "") {
  return find_launch(given, [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(const std::map<std::string, std::string>& variables) {
  try {
    find(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    return error.what();
  }
  return "";
}

TEST(FindLaunch, IsOneRankWhereNobodyLaunched) {
  EXPECT_EQ(find({}).size, 1);
  EXPECT_EQ(find({{"WORLD_SIZE", "1"}}).size, 1);
  // A batch script of Slurm is no step: one process, whatever was asked for.
  EXPECT_EQ(find({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "0"}}).size, 1);
}

TEST(FindLaunch, ReadsTorchrunAndLeavesItsPortToIt) {
  std::map<std::string, std::string> variables = {{"WORLD_SIZE", "8"},
                                                  {"RANK", "5"},
                                                  {"LOCAL_RANK", "1"},
                                                  {"MASTER_ADDR", "node-1"},
                                                  {"MASTER_PORT", "29500"},
                                                  {"TORCHELASTIC_RUN_ID", "ab"},
                                                  {"SLURM_PROCID", "0"},
                                                  {"SLURM_STEP_NUM_TASKS", "2"},
                                                  {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                                  {"TORCHELASTIC_RESTART_COUNT", "2"}};
  const Launch found = find(variables);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.rendezvous, "node-1:29501");
  EXPECT_EQ(found.run, "ab.2");
  EXPECT_EQ(find(variables, "/shared/meet").rendezvous, "/shared/meet");
  variables["MASTER_PORT"] = "65535";
  EXPECT_EQ(find(variables).rendezvous, "node-1:65534");
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "False";
  EXPECT_EQ(find(variables).rendezvous, "node-1:65535");
  variables["MASTER_ADDR"] = "fe80::1";
  EXPECT_EQ(find(variables).rendezvous, "[fe80::1]:65535");
}

TEST(FindLaunch, ReadsSrunWithAnAddressFromTheScriptOrTheCommandLine) {
  std::map<std::string, std::string> variables = {
      {"SLURM_PROCID", "3"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_LOCALID", "1"},
      {"SLURM_NTASKS", "9"}, {"SLURM_JOB_ID", "77"},        {"SLURM_STEP_ID", "2"}};
  const Launch found = find(variables, "node-1:7000");
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.rendezvous, "node-1:7000");
  EXPECT_EQ(found.run, "77.2");
  EXPECT_NE(refusal(variables).find("MASTER_ADDR is not set: give --rendezvous"),
            std::string::npos);
  variables["MASTER_ADDR"] = "node-1";
  variables["MASTER_PORT"] = "7001";
  EXPECT_EQ(find(variables).rendezvous, "node-1:7001");
}

TEST(FindLaunch, NamesTheVariableThatMakesNoSense) {
  const std::map<std::string, std::string> sound = {{"WORLD_SIZE", "4"},
                                                    {"RANK", "1"},
                                                    {"LOCAL_RANK", "1"},
                                                    {"MASTER_ADDR", "node-1"},
                                                    {"MASTER_PORT", "29500"}};
  EXPECT_EQ(refusal(sound), "");
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"WORLD_SIZE", "0"}, {"RANK", "4"}, {"LOCAL_RANK", "-1"}, {"MASTER_PORT", "70000"}}) {
    auto variables = sound;
    variables[name] = value;
    EXPECT_NE(refusal(variables).find(name + " = '" + value + "'"), std::string::npos)
        << refusal(variables);
    variables.erase(name);
    if (name != "WORLD_SIZE") {
      EXPECT_NE(refusal(variables).find(name + " is not set"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace crinn::gpu
