// SPDX-License-Identifier: Apache-2.0
#include "../property/eval/knn_cases.h"
#include "../unit/gpu/ranks.h"
#include "crinn/gpu/ranked_knn.h"
#include "on_device.h"
#include "socket.h"

namespace crinn::gpu {
namespace {

using namespace std::chrono_literals;

class Nccl : public OnDevice {};

constexpr CommTimeouts kTimeouts = {60s, 60s};

/// Devices 0 to n - 1 are there; at most 8.
int device_count() {
  int count = 0;
  while (count < 8 && device_status(count).available) ++count;
  return count;
}

Launch launch(int rank, int size, const std::string& address) {
  return {rank, size, rank, address, ""};
}

std::string free_address() { return "localhost:" + std::to_string(Socket::listen(0).port()); }

void expect_gathered(Comm& comm, int rank, int size) {
  ASSERT_EQ(comm.rank(), rank);
  ASSERT_EQ(comm.size(), size);
  for (const std::size_t count : {1, 0, 5, 3'000'001, 8}) {
    const std::vector<std::byte> mine(count, static_cast<std::byte>(rank + 1));
    std::vector<std::byte> expected;
    for (int r = 0; r < size; ++r) {
      expected.insert(expected.end(), count, static_cast<std::byte>(r + 1));
    }
    EXPECT_EQ(comm.all_gather(mine), expected) << count;
  }
}

knn_cases::Case some_rows() {
  return knn_cases::make("", 5000, 30, 24, 10,
                         [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
}

TEST_F(Nccl, OneRankGathersItsOwnBytes) {
  expect_gathered(*make_nccl_comm({}, 0, kTimeouts), 0, 1);
}

TEST_F(Nccl, OneRankFindsWhatTheDeviceFinds) {
  const auto input = some_rows();
  const auto comm = make_nccl_comm({}, 0, kTimeouts);
  const Neighbors expected =
      exact_knn(input.query_view(), input.base_view(), ann::Metric::kL2, input.k);
  const Neighbors found =
      exact_knn(*comm, input.query_view(), input.base_view(), 0, ann::Metric::kL2, input.k);
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(found.distances, expected.distances);
}

TEST_F(Nccl, TwoRanksOnOneDeviceAreAnErrorOnBoth) {
  const std::string address = free_address();
  for (const RankEnd& end : run_ranks(2, [&](int rank) {
         make_nccl_comm(launch(rank, 2, address), 0, {20s, 20s});
       })) {
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(end.message.starts_with("make_nccl_comm: rank ")) << end.message;
  }
}

TEST_F(Nccl, ADeviceThatIsNotThereIsNamedOnEveryRank) {
  const std::string address = free_address();
  for (const RankEnd& end : run_ranks(2, [&](int rank) {
         make_nccl_comm(launch(rank, 2, address), rank == 0 ? 0 : 1000, kTimeouts);
       })) {
    EXPECT_EQ(end.exit_code, 4);
    EXPECT_TRUE(mentions(end, "rank 1")) << end.message;
    EXPECT_TRUE(mentions(end, device_status(1000).reason)) << end.message;
  }
}

TEST_F(Nccl, SeveralDevicesFindWhatOneFinds) {
  const int size = device_count();
  if (size < 2) GTEST_SKIP() << "one device";
  const auto input = some_rows();
  const Neighbors expected =
      exact_knn(input.query_view(), input.base_view(), ann::Metric::kCosine, input.k);
  const std::string address = free_address();
  for (const RankEnd& end : run_ranks(size, [&](int rank) {
         const auto comm = make_nccl_comm(launch(rank, size, address), rank, kTimeouts);
         expect_gathered(*comm, rank, size);
         const int64_t first = input.n * rank / size, last = input.n * (rank + 1) / size;
         const Neighbors found =
             exact_knn(*comm, input.query_view(), input.base_view().slice(first, last - first),
                       first, ann::Metric::kCosine, input.k, {{rank}});
         EXPECT_EQ(found.ids, expected.ids);
         EXPECT_EQ(found.distances, expected.distances);
       })) {
    EXPECT_EQ(end.message, "");
  }
}

TEST_F(Nccl, ARankThatLeavesIsNamedByTheOthers) {
  const int size = device_count();
  if (size < 2) GTEST_SKIP() << "one device";
  const std::string address = free_address();
  const auto ends = run_ranks(size, [&](int rank) {
    const auto comm = make_nccl_comm(launch(rank, size, address), rank, kTimeouts);
    if (rank == 1) throw Error(ErrorCategory::kData, "no such file");
    comm->all_gather(std::vector<std::byte>(100));
  });
  for (int rank = 0; rank < size; ++rank) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    EXPECT_TRUE(mentions(end, rank == 1 ? "no such file" : "rank 1 has left")) << end.message;
  }
}

}  // namespace
}  // namespace crinn::gpu
