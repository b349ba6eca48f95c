// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>

#include "crinn/ann/toolbox/sort.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

void expect_sorted_alike(std::vector<Candidate> candidates, const char* what) {
  std::vector<Candidate> expected = candidates;
  sort_nearest(candidates);
  scalar::sort_nearest(expected);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(candidates[i].id, expected[i].id) << what << " at " << i << " of " << expected.size();
    ASSERT_EQ(candidates[i].estimate, expected[i].estimate);
  }
}

TEST(SortNearest, AgreesWithAStableSort) {
  Rng rng(1);
  for (int count = 0; count < 400; count += count < 170 ? 1 : 37) {
    std::vector<Candidate> candidates(static_cast<std::size_t>(count));
    for (int32_t i = 0; i < count; ++i) {
      candidates[static_cast<std::size_t>(i)] = {static_cast<float>(rng.normal()), i};
    }
    expect_sorted_alike(candidates, "random");
    // Few values: many that are equal, of both signs, and infinities.
    for (Candidate& candidate : candidates) {
      candidate.estimate = static_cast<float>(rng.below(5)) - 2;
      if (candidate.estimate == 2) candidate.estimate = std::numeric_limits<float>::infinity();
      candidate.id = static_cast<int32_t>(rng.below(3));
    }
    expect_sorted_alike(candidates, "equal ones");
  }
}

}  // namespace
}  // namespace crinn::ann
