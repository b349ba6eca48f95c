// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/progress.h"

#include <gtest/gtest.h>

namespace crinn {
namespace {

TEST(FormatDuration, PicksTheUnitAPersonWould) {
  EXPECT_EQ(format_duration(0.04), "0.0 s");
  EXPECT_EQ(format_duration(3.21), "3.2 s");
  EXPECT_EQ(format_duration(59.96), "1 min 00 s");
  EXPECT_EQ(format_duration(245), "4 min 05 s");
  EXPECT_EQ(format_duration(3725), "1 h 02 min");
}

}  // namespace
}  // namespace crinn
