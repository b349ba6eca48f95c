// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace crinn {

/// How a child process is run. Limits of 0 mean "none".
struct ProcessOptions {
  double wall_seconds = 0;               ///< the whole process group is killed after this
  double cpu_seconds = 0;                ///< RLIMIT_CPU
  int64_t address_space_bytes = 0;       ///< RLIMIT_AS
  int64_t file_bytes = 0;                ///< RLIMIT_FSIZE
  int64_t output_bytes = 1 << 20;        ///< of each stream; what is beyond is dropped
  bool clean_environment = false;        ///< only `environment`
  std::vector<std::string> environment;  ///< "NAME=value"
  std::filesystem::path folder;          ///< working folder; empty: the parent's
};

/// How a child process ended.
struct ProcessResult {
  int exit_code = -1;  ///< -1 when a signal ended it
  int signal = 0;
  bool timed_out = false;
  std::string out, err;

  bool ok() const { return exit_code == 0 && !timed_out; }
};

/// Runs argv[0] (looked up in PATH) in its own process group with stdin from /dev/null, collects
/// both streams, and waits. The group dies with the caller's thread and at the deadline. Throws
/// Error (device) when it cannot be started; how it ended is a value.
ProcessResult run_process(const std::vector<std::string>& argv, const ProcessOptions& options = {});

/// "SIGSEGV (Segmentation fault)".
std::string signal_name(int signal);

}  // namespace crinn
