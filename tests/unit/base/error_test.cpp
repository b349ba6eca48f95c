// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/error.h"

#include <gtest/gtest.h>

namespace crinn {
namespace {

TEST(Error, CategoryDecidesTheExitCode) {
  EXPECT_EQ(Error(ErrorCategory::kUsage, "x").exit_code(), 2);
  EXPECT_EQ(Error(ErrorCategory::kData, "x").exit_code(), 3);
  EXPECT_EQ(Error(ErrorCategory::kDevice, "x").exit_code(), 4);
  EXPECT_EQ(Error(ErrorCategory::kTryAgain, "x").exit_code(), 75);
}

TEST(Error, RemembersWhereItWasThrown) {
  const Error error(ErrorCategory::kData, "x");
  EXPECT_NE(std::string(error.where().file_name()).find("error_test.cpp"), std::string::npos);
}

TEST(RunTool, ReportsAnErrorAsToolColonMessage) {
  testing::internal::CaptureStderr();
  const int code = run_tool(
      "crinn-x",
      [](int, char**) -> int { throw Error(ErrorCategory::kUsage, "--k: 0 is not positive"); }, 0,
      nullptr);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "crinn-x: --k: 0 is not positive\n");
  EXPECT_EQ(code, 2);
}

TEST(RunTool, ReturnsTheBodysOwnCode) {
  EXPECT_EQ(run_tool(
                "crinn-x", [](int, char**) { return 7; }, 0, nullptr),
            7);
}

}  // namespace
}  // namespace crinn
