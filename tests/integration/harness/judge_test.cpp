// SPDX-License-Identifier: Apache-2.0
#include "crinn/harness/judge.h"

#include <gtest/gtest.h>

#include "support.h"

namespace crinn::harness {
namespace {

using testing::plain_triple;
using testing::quick_options;
using testing::TinyData;

TEST(Judge, MeasuresATripleAgainstItself) {
  const TinyData data;
  const TemporaryFolder folder;  // nothing cached
  Judge judge(quick_options(folder.path()), data.workload());
  const Measurement m = judge.judge(plain_triple(), plain_triple(), 1);
  ASSERT_EQ(m.outcome, Outcome::kValid) << to_string(m.stage) << ": " << m.evidence;
  EXPECT_EQ(m.stage, Stage::kDone);
  ASSERT_EQ(m.instances.size(), 2u);
  for (const RaceInstance& instance : m.instances) {
    ASSERT_FALSE(instance.baseline.empty());
    ASSERT_EQ(instance.baseline.size(), instance.candidate.size());
    for (std::size_t i = 0; i < instance.baseline.size(); ++i) {
      const RacePoint &a = instance.baseline[i], &b = instance.candidate[i];
      EXPECT_GT(a.seconds_per_query, 0);
      EXPECT_GT(a.recall, 0.3);
      EXPECT_LE(a.recall, 1);
      EXPECT_NEAR(a.recall, b.recall, 0.05);
      EXPECT_GT(a.slices, 0);
      EXPECT_GT(a.p99_us, 0);
      EXPECT_GT(a.distances_per_query, 0);
    }
  }
  EXPECT_GT(m.candidate_cost.build_seconds, 0);
  EXPECT_GT(m.candidate_cost.index_bytes, 1500 * 16 * 4);
  EXPECT_FALSE(m.layers.empty());
  EXPECT_EQ(to_json(measurement_from_json(to_json(m))), to_json(m));
}

}  // namespace
}  // namespace crinn::harness
