// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/subprocess.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn {
namespace {

ProcessResult shell(const std::string& script, const ProcessOptions& options = {}) {
  return run_process({"/bin/sh", "-c", script}, options);
}

TEST(Subprocess, CollectsBothStreamsAndTheStatus) {
  const ProcessResult result = shell("echo out; echo err >&2; exit 3");
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_FALSE(result.ok());
  EXPECT_TRUE(shell("true").ok());
}

TEST(Subprocess, ReportsTheSignal) {
  const ProcessResult result = shell("kill -SEGV $$");
  EXPECT_EQ(result.signal, SIGSEGV);
  EXPECT_EQ(result.exit_code, -1);
  EXPECT_EQ(signal_name(SIGSEGV), "SIGSEGV (Segmentation fault)");
}

TEST(Subprocess, EndsTheWholeGroupAtTheDeadline) {
  ProcessOptions options;
  options.wall_seconds = 0.2;
  const ProcessResult result = shell("echo started; sleep 100 & sleep 100", options);
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.signal, SIGKILL);
  EXPECT_EQ(result.out, "started\n");
}

TEST(Subprocess, EndsAChildThatClosedItsStreams) {
  ProcessOptions options;
  options.wall_seconds = 0.2;
  EXPECT_TRUE(shell("exec >&- 2>&-; exec sleep 100", options).timed_out);
}

TEST(Subprocess, LimitsOutputAndFiles) {
  ProcessOptions options;
  options.output_bytes = 10;
  EXPECT_EQ(shell("echo 1234567890123", options).out, "1234567890");
  options.file_bytes = 4096;
  const TemporaryFolder folder;
  options.folder = folder.path();
  EXPECT_EQ(shell("exec head -c 100000 /dev/zero > file", options).signal, SIGXFSZ);
}

TEST(Subprocess, SetsTheEnvironment) {
  ProcessOptions options;
  options.clean_environment = true;
  options.environment = {"CRINN_X=1"};
  EXPECT_EQ(run_process({"/usr/bin/env"}, options).out, "CRINN_X=1\n");
}

TEST(Subprocess, NamesAProgramThatIsNotThere) {
  try {
    run_process({"/nowhere/at-all"});
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/at-all"), std::string::npos);
    EXPECT_EQ(error.category(), ErrorCategory::kDevice);
  }
}

}  // namespace
}  // namespace crinn
