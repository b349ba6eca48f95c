// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "crinn/ann/toolbox/connect.h"
#include "crinn/base/rng.h"

namespace crinn::ann {
namespace {

/// Random rows of random length over n nodes; `islands` of them point only inside their island.
Graph random_graph(int64_t n, int degree, int64_t islands, Rng& rng) {
  Graph graph(n, degree);
  for (int64_t i = 0; i < n; ++i) {
    std::set<int32_t> row;
    const int64_t size = n / islands + (i % islands < n % islands);
    const uint64_t length = rng.below(static_cast<uint64_t>(degree) + 1);
    for (uint64_t j = 0; j < length; ++j) {
      const auto step = static_cast<int64_t>(rng.below(static_cast<uint64_t>(size)));
      const int64_t id = i % islands + step * islands;
      if (id != i) row.insert(static_cast<int32_t>(id));
    }
    std::copy(row.begin(), row.end(), graph.row(i));
  }
  graph.entry_points = {static_cast<int32_t>(rng.below(static_cast<uint64_t>(n)))};
  return graph;
}

TEST(RepairConnectivity, ReachesEveryNodeOfAnyGraph) {
  Rng rng(11);
  for (int round = 0; round < 400; ++round) {
    const auto n = static_cast<int64_t>(1 + rng.below(round % 10 == 0 ? 500 : 40));
    const auto degree = static_cast<int>(1 + rng.below(6));
    const auto islands = static_cast<int64_t>(1 + rng.below(static_cast<uint64_t>(n)));
    Graph graph = random_graph(n, degree, islands, rng);
    const Reachability before{GraphView(graph)};
    const int64_t added = repair_connectivity(graph, [&](int32_t id, std::vector<Candidate>& out) {
      const Reachability now{GraphView(graph)};  // reached nodes only, as a beam search finds them
      for (int i = 0; i < 3; ++i) {
        const auto other = static_cast<int32_t>(rng.below(static_cast<uint64_t>(n)));
        const bool reached =
            now.parent[static_cast<std::size_t>(other)] != Reachability::kUnreached;
        if (reached && other != id) out.push_back({0, other});
      }
    });
    const Reachability after{GraphView(graph)};
    ASSERT_EQ(after.reached, n) << "round " << round;
    EXPECT_LE(added, n - before.reached);
    EXPECT_EQ(added == 0, before.reached == n);
    for (int64_t i = 0; i < n; ++i) {
      std::set<int32_t> seen;
      bool ended = false;
      for (int j = 0; j < degree; ++j) {
        const int32_t id = graph.row(i)[j];
        ASSERT_TRUE(id >= -1 && id < n && id != i);
        ASSERT_FALSE(ended && id >= 0);
        ended = id < 0;
        if (ended) continue;
        ASSERT_TRUE(seen.insert(id).second);
      }
    }
  }
}

}  // namespace
}  // namespace crinn::ann
