// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "../base/memory_nodes.h"
#include "crinn/ann/exact_distance.h"
#include "crinn/base/files.h"
#include "deck.h"
#include "graph_store.h"
#include "scene.h"
#include "shared_memory.h"
#include "slices.h"
#include "stand.h"
#include "sweep.h"

namespace crinn::harness {
namespace {

GraphData small_graph() {
  GraphData graph;
  graph.n = 4;
  graph.degree = 2;
  graph.neighbors = {1, 2, 0, -1, 3, 0, -1, -1};
  graph.entry_points = {2, 0};
  graph.order = {3, 1, 0, 2};
  graph.build_seconds = 1.5;
  return graph;
}

TEST(DropBelowGap, KeepsWhatHangsTogetherWithTheHighestRecall) {
  const auto recalls = [](std::vector<double> of) {
    std::vector<RacePoint> points(of.size());
    for (std::size_t i = 0; i < of.size(); ++i) points[i].recall = of[i];
    drop_below_gap(points);
    std::vector<double> left;
    for (const RacePoint& point : points) left.push_back(point.recall);
    return left;
  };
  EXPECT_EQ(recalls({0, 0, 0.951, 0.99}), (std::vector<double>{0.951, 0.99}));
  EXPECT_EQ(recalls({0.80, 0.87, 0.94, 0.99}), (std::vector<double>{0.80, 0.87, 0.94, 0.99}));
  EXPECT_EQ(recalls({0.99, 0.7, 0.92, 0.5}), (std::vector<double>{0.99, 0.92}));
  EXPECT_EQ(recalls({}), (std::vector<double>{}));
}

TEST(GraphStore, KeepsAGraphOnDisk) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "g";
  save_graph(small_graph(), path);
  const auto back = load_graph(path);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->neighbors, small_graph().neighbors);
  EXPECT_EQ(back->entry_points, small_graph().entry_points);
  EXPECT_EQ(back->order, small_graph().order);
  EXPECT_EQ(back->build_seconds, 1.5);
  std::string file = read_file(path);
  file[file.size() - 3] ^= 1;
  write_file_atomic(path, file);
  EXPECT_FALSE(load_graph(path)) << "a damaged file is no graph";
  EXPECT_FALSE(load_graph(folder.path() / "absent"));
}

TEST(GraphStore, RenamesRowsAndIdsAlike) {
  const std::vector<int32_t> rename = {2, 0, 3, 1}, inverse = {1, 3, 0, 2};
  const GraphData renamed = rename_graph(small_graph(), rename);
  EXPECT_EQ(std::vector<int32_t>(renamed.neighbors.begin() + 4, renamed.neighbors.begin() + 6),
            (std::vector<int32_t>{0, 3}));  // row 0 is row 2 now
  EXPECT_EQ(renamed.entry_points, (std::vector<int32_t>{3, 2}));
  EXPECT_EQ(rename_graph(renamed, inverse).neighbors, small_graph().neighbors);
  EXPECT_EQ(rename_graph(renamed, inverse).order, small_graph().order);
}

TEST(Answer, MustBeExactlyTheLesserOfKAndNUniqueIds) {
  const auto fault = [](std::vector<int32_t> ids, int64_t n) {
    return answer_fault(ids.data(), static_cast<int>(ids.size()), n).has_value();
  };
  EXPECT_FALSE(fault({2, 0, 1}, 3));
  EXPECT_FALSE(fault({1, 0, -1}, 2));
  EXPECT_TRUE(fault({1, 0, 0}, 2));
  EXPECT_TRUE(fault({1, -1, -1}, 2));
  EXPECT_TRUE(fault({3, 0, 1}, 3));
  EXPECT_TRUE(fault({-2, 0, 1}, 3));
  EXPECT_TRUE(fault({1, 1, 0}, 3));
  std::vector<int32_t> many(40);
  for (int i = 0; i < 40; ++i) many[static_cast<std::size_t>(i)] = i;
  EXPECT_FALSE(fault(many, 40));
  many[39] = 7;
  EXPECT_TRUE(fault(many, 40));
}

TEST(Scene, HidesTheOrderAndKeepsTheTruth) {
  const std::vector<float> base = {0, 0, 3, 4, 6, 8, 1, 0};
  const std::vector<float> queries = {0, 0};
  const std::vector<double> kth = {1};
  Workload load;
  load.base = {base.data(), 4, 2};
  load.queries = {queries.data(), 1, 2};
  load.kth_distance = kth;
  load.k = 2;
  const Scene scene(load, 3);
  const auto* rows = reinterpret_cast<const float*>(scene.base().data());
  for (int32_t raw = 0; raw < 4; ++raw) {
    const int32_t secret = scene.to_secret()[static_cast<std::size_t>(raw)];
    EXPECT_EQ(scene.from_secret()[static_cast<std::size_t>(secret)], raw);
    EXPECT_EQ(std::memcmp(rows + 2 * secret, base.data() + 2 * raw, 8), 0);
  }
  const int32_t right[] = {scene.to_secret()[0], scene.to_secret()[3]};
  const int32_t half[] = {scene.to_secret()[0], scene.to_secret()[2]};
  EXPECT_EQ(scene.hits(0, right), 2);
  EXPECT_EQ(scene.hits(0, half), 1);
}

TEST(Scene, GivesUnitVectorsUnderCosine) {
  const std::vector<float> base = {3, 4, 0, 0};
  const std::vector<float> queries = {0, 2};
  const std::vector<double> kth = {0.4};
  Workload load;
  load.metric = ann::Metric::kCosine;
  load.base = {base.data(), 2, 2};
  load.queries = {queries.data(), 1, 2};
  load.kth_distance = kth;
  load.k = 1;
  const Scene scene(load, 1);
  const auto* row = reinterpret_cast<const float*>(scene.base().data()) + 2 * scene.to_secret()[0];
  EXPECT_FLOAT_EQ(row[0], 0.6f);
  EXPECT_FLOAT_EQ(scene.query(0)[1], 1.0f);
  const auto* zero = reinterpret_cast<const float*>(scene.base().data()) + 2 * scene.to_secret()[1];
  EXPECT_FLOAT_EQ(zero[0], std::sqrt(0.5f));
  EXPECT_FLOAT_EQ(zero[1], -std::sqrt(0.5f));
}

TEST(Stand, PutsTheBaseIntoTheMemoryNextToTheRacingCore) {
  const std::map<int, int> cores = test::core_of_each_node();
  if (cores.size() < 2) GTEST_SKIP() << "this machine has one memory node";
  const int64_t n = 4000, d = 256;
  const std::vector<float> base(static_cast<std::size_t>(n * d), 1.0f);
  const std::vector<double> kth{0};
  Workload workload;
  workload.base = {base.data(), n, d};
  workload.queries = {base.data(), 1, d};
  workload.kth_distance = kth;
  const TemporaryFolder folder;
  JudgeOptions options;
  options.work_folder = folder.path();
  for (const auto& [node, core] : cores) {
    Stand stand(options, workload, core, 0);
    stand.use_seed(1);
    const SharedMemory& memory = stand.scene().base();
    for (int64_t at = 0; at < memory.bytes(); at += 4096) {
      ASSERT_EQ(test::node_of(memory.data() + at), node) << "byte " << at;
    }
  }
}

TEST(SharedMemory, CannotBeWrittenOnceSealed) {
  SharedMemory memory("test", 5000);
  memory.data()[4999] = 'x';
  memory.seal();
  memory.data()[0] = 'y';  // who filled it may go on
  EXPECT_EQ(mmap(nullptr, 5000, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd(), 0), MAP_FAILED);
  void* view = mmap(nullptr, 5000, PROT_READ, MAP_SHARED, memory.fd(), 0);
  ASSERT_NE(view, MAP_FAILED);
  EXPECT_EQ(static_cast<char*>(view)[4999], 'x');
  EXPECT_NE(mprotect(view, 5000, PROT_READ | PROT_WRITE), 0);
  munmap(view, 5000);
  EXPECT_NE(ftruncate(memory.fd(), 10), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(memory.fd());
  const int again = open(path.c_str(), O_RDWR);
  if (again >= 0) {  // the owner may open it, but not write through it
    EXPECT_NE(pwrite(again, "z", 1, 0), 1);
    close(again);
  }
}

TEST(Deck, DealsEachQueryOnceBeforeAnyComesAgain) {
  Rng rng(1);
  Deck deck({3, 1, 4, 0, 5, 9, 2, 6, 8, 7}, rng);
  for (int round = 0; round < 3; ++round) {
    std::set<int64_t> seen;
    for (int i = 0; i < 5; ++i) {
      for (const int64_t card : deck.deal(2)) seen.insert(card);
    }
    EXPECT_EQ(seen.size(), 10u);
  }
  EXPECT_EQ(deck.deal(99).size(), 10u);
}

TEST(Deck, NeverDealsWhatWasKeptBack) {
  Rng rng(1);
  Deck deck({3, 1, 4, 0, 5, 9, 2, 6, 8, 7}, rng);
  EXPECT_EQ(deck.keep_back(3, [](int64_t card) { return card >= 6 && card != 9; }),
            (std::vector<int64_t>{6, 8, 7}));
  EXPECT_TRUE(deck.keep_back(3, [](int64_t) { return false; }).empty());
  for (int i = 0; i < 40; ++i) {
    for (const int64_t card : deck.deal(2)) EXPECT_TRUE(card != 6 && card != 8 && card != 7);
  }
  EXPECT_EQ(deck.deal(99).size(), 7u);
}

TEST(TrimmedMean, IgnoresTheOuterFifths) {
  EXPECT_DOUBLE_EQ(trimmed_mean({1000, 1, 2, 3, -1000}), 2);
  EXPECT_DOUBLE_EQ(trimmed_mean({4}), 4);
  EXPECT_DOUBLE_EQ(trimmed_mean({}), 0);
}

TEST(RacePoints, FillTheBandAndBracketIt) {
  Sweep sweep;
  for (int i = 0; i <= 20; ++i) sweep.points.push_back({10 + i, 0.6 + 0.02 * i, 1e-5});
  SweepOptions options;
  options.min_points = 4;
  const auto chosen = race_points(sweep, options);
  ASSERT_EQ(chosen.size(), 6u);
  EXPECT_LT(chosen.front().recall, options.low);
  EXPECT_GT(chosen.back().recall, options.high);
  for (std::size_t i = 1; i + 1 < chosen.size(); ++i) {
    EXPECT_GE(chosen[i].recall, options.low);
    EXPECT_LE(chosen[i].recall, options.high + 1e-9);
    EXPECT_GT(chosen[i].ef, chosen[i - 1].ef);
  }
}

}  // namespace
}  // namespace crinn::harness
