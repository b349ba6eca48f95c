// SPDX-License-Identifier: Apache-2.0
// prune.h, beam.h, order.h, entries.h: what builds a graph.
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <vector>

#include "crinn/ann/toolbox/beam.h"
#include "crinn/ann/toolbox/entries.h"
#include "crinn/ann/toolbox/order.h"
#include "crinn/ann/toolbox/prune.h"

namespace crinn::ann {
namespace {

/// Points on a line: distances can be worked out by hand.
struct Line {
  std::vector<float> x;
  float operator()(int32_t a, int32_t b) const {
    const float difference = x[static_cast<std::size_t>(a)] - x[static_cast<std::size_t>(b)];
    return difference * difference;
  }
  std::vector<Candidate> sorted_from(int32_t p) const {
    std::vector<Candidate> all;
    for (int32_t id = 0; id < static_cast<int32_t>(x.size()); ++id) {
      if (id != p) all.push_back({(*this)(p, id), id});
    }
    std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
      return a.estimate < b.estimate || (a.estimate == b.estimate && a.id < b.id);
    });
    return all;
  }
};

TEST(Prune, KeepsOneOnEachSideOfALine) {
  const Line line{{0, 1, 2, 3, -1.5f, -2}};
  int32_t row[4];
  EXPECT_EQ(prune(line.sorted_from(0), {.degree = 4}, line, row), 2);
  EXPECT_EQ((std::vector<int32_t>(row, row + 4)), (std::vector<int32_t>{1, 4, -1, -1}));
}

TEST(Prune, FillsWithTheNearestRejected) {
  const Line line{{0, 1, 2, 3, -1.5f, -2}};
  int32_t row[4];
  EXPECT_EQ(prune(line.sorted_from(0), {.degree = 4, .fill = true}, line, row), 4);
  EXPECT_EQ((std::vector<int32_t>(row, row + 4)), (std::vector<int32_t>{1, 4, 2, 5}));
}

TEST(Prune, AlphaKeepsMore) {
  const Line line{{0, 1, 2.1f, 4}};  // 2.1 is 1.1 from 1: rejected by RNG, kept by alpha 2
  int32_t row[3];
  EXPECT_EQ(prune(line.sorted_from(0), {.degree = 3}, line, row), 1);
  EXPECT_EQ(prune(line.sorted_from(0), {.degree = 3, .alpha = 2}, line, row), 2);
  EXPECT_EQ(row[1], 2);
}

TEST(Prune, AngleRuleKeepsOneInADirection) {
  const Line line{{0, 1, 2, -1}};
  int32_t row[3];
  EXPECT_EQ(prune(line.sorted_from(0), {.degree = 3, .min_angle = 60}, line, row), 2);
  EXPECT_EQ((std::vector<int32_t>(row, row + 3)), (std::vector<int32_t>{1, 3, -1}));
}

TEST(Prune, KeepsDuplicatesApartUpToTheDegree) {
  const Line line{{0, 0, 0, 0}};
  int32_t row[2];
  EXPECT_EQ(prune(line.sorted_from(0), {.degree = 2}, line, row), 2);
  EXPECT_NE(row[0], row[1]);
  EXPECT_EQ(prune({}, {.degree = 2, .fill = true}, line, row), 0);
  EXPECT_EQ(row[0], -1);
}

TEST(AddEdges, AppendsThenPrunesAndDoesNotDependOnThreads) {
  const int64_t n = 200;
  Line line;
  Rng rng(3);
  for (int64_t i = 0; i < n; ++i) line.x.push_back(static_cast<float>(rng.normal()));
  std::vector<Edge> edges;
  for (int i = 0; i < 4000; ++i) {  // repeats and self edges included
    const auto a = static_cast<int32_t>(rng.below(n)), b = static_cast<int32_t>(rng.below(n));
    edges.push_back({a, b, line(a, b)});
  }
  std::vector<Graph> graphs;
  for (const int threads : {1, 4}) {
    Graph& graph = graphs.emplace_back(n, 8);
    const auto half = edges.begin() + 2000;
    std::vector<Edge> first(edges.begin(), half), second(half, edges.end());
    add_edges(graph, first, {.degree = 8}, line, threads);
    add_edges(graph, second, {.degree = 8, .fill = true}, line, threads);
  }
  for (int64_t i = 0; i < n; ++i) {
    std::set<int32_t> seen;
    bool ended = false;
    for (int j = 0; j < 8; ++j) {
      const int32_t id = graphs[0].row(i)[j];
      EXPECT_EQ(id, graphs[1].row(i)[j]);
      EXPECT_FALSE(ended && id >= 0);
      ended = id < 0;
      if (ended) continue;
      EXPECT_NE(id, i);
      EXPECT_TRUE(seen.insert(id).second) << "twice in row " << i;
    }
    EXPECT_FALSE(seen.empty());
  }
}

/// Each node knows the two before and after it.
Graph ring(int32_t n) {
  Graph graph(n, 4);
  for (int32_t i = 0; i < n; ++i) {
    const int32_t near[] = {(i + 1) % n, (i + n - 1) % n, (i + 2) % n, (i + n - 2) % n};
    std::copy_n(near, 4, graph.row(i));
  }
  graph.entry_points = {0};
  return graph;
}

TEST(BeamSearch, FindsTheNearestNodesOfARing) {
  const int32_t n = 100;
  const Graph graph = ring(n);
  const auto row = [&](int32_t id) { return std::span(graph.row(id), 4); };
  const auto score = [](int32_t id) { return static_cast<float>(std::abs(id - 37)); };
  BeamScratch scratch(n);
  for (int repeat = 0; repeat < 2; ++repeat) {
    beam_search(
        graph.entry_points, 5, row, score, [](int32_t) {}, scratch);
    ASSERT_EQ(scratch.found.size(), 5u);
    EXPECT_EQ(scratch.found[0].id, 37);
    EXPECT_EQ(scratch.found[0].estimate, 0.0f);
    EXPECT_LE(scratch.found[4].estimate, 2.0f);
  }
  EXPECT_GT(scratch.distance_count, 10u);
  EXPECT_EQ(greedy_descent({37.0f, 0}, row, score).id, 37);
}

TEST(Order, BreadthFirstStartsAtTheEntryAndHoldsEveryNodeOnce) {
  Graph graph = ring(50);
  for (int j = 0; j < 4; ++j) graph.row(49)[j] = -1;
  graph.entry_points = {7};
  for (const auto& order : {bfs_order(graph), in_degree_order(graph)}) {
    EXPECT_EQ(std::set<int32_t>(order.begin(), order.end()).size(), 50u);
  }
  const auto order = bfs_order(graph);
  EXPECT_EQ(order[0], 7);
  EXPECT_EQ(order[1], 8);
}

TEST(Order, PlacedRowsAreTheSameGraph) {
  const Graph graph = ring(30);
  std::vector<int32_t> order(30);
  std::iota(order.begin(), order.end(), 0);
  Rng rng(2);
  rng.shuffle(order);
  const Placement placement(order, 30);
  const HugeArray<int32_t> rows = place_rows(graph, placement);
  for (int32_t id = 0; id < 30; ++id) {
    EXPECT_EQ(placement.id_at(placement.place_of(id)), id);
    for (int j = 0; j < 4; ++j) {
      const int32_t place = rows[static_cast<std::size_t>(placement.place_of(id) * 4 + j)];
      EXPECT_EQ(placement.id_at(place), graph.row(id)[j]);
    }
  }
  EXPECT_TRUE(Placement({}, 30).identity());
}

std::vector<float> clusters(int64_t n, int64_t d, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> rows;
  for (int64_t i = 0; i < n * d; ++i) {
    rows.push_back(static_cast<float>(rng.normal() + 20.0 * static_cast<double>(i / d % 4)));
  }
  return rows;
}

TEST(Entries, RandomOnesAreDifferentAndInRange) {
  for (const int64_t n : {1, 2, 10, 1000}) {
    for (const int count : {1, 10, 64}) {
      const auto entries = random_entries(n, count, 5);
      EXPECT_EQ(entries.size(), static_cast<std::size_t>(std::min<int64_t>(n, count)));
      EXPECT_EQ(std::set<int32_t>(entries.begin(), entries.end()).size(), entries.size());
      for (const int32_t id : entries) EXPECT_TRUE(id >= 0 && id < n);
      EXPECT_EQ(entries, random_entries(n, count, 5));
    }
  }
  EXPECT_NE(random_entries(1000, 10, 5), random_entries(1000, 10, 6));
}

TEST(Entries, MedoidIsTheMiddlePoint) {
  const std::vector<float> rows{-10, 0, 1, 10, 4};  // mean 1
  EXPECT_EQ(medoid({rows.data(), 5, 1}, 1), 2);
}

TEST(Entries, KmeansFindsEveryClusterAtAnyThreadCount) {
  const std::vector<float> rows = clusters(2000, 5, 9);
  const MatrixView<const float> base(rows.data(), 2000, 5);
  const auto entries = kmeans_entries(base, 16, 1, 1);
  EXPECT_EQ(entries, kmeans_entries(base, 16, 1, 3));
  std::set<int32_t> found;
  for (const int32_t id : entries) found.insert(id % 4);
  EXPECT_EQ(found.size(), 4u);
  EXPECT_EQ(kmeans_entries(base.slice(0, 1), 16, 1, 1), (std::vector<int32_t>{0}));
}

TEST(Entries, NearestComeFirst) {
  const std::vector<int32_t> entries{5, 1, 9, 3};
  std::vector<Candidate> best;
  nearest_entries(
      entries, 2, [](int32_t id) { return static_cast<float>(std::abs(id - 4)); }, best);
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[0].id, 3);
  EXPECT_EQ(best[1].id, 5);
}

}  // namespace
}  // namespace crinn::ann
