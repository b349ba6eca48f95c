// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <charconv>

#include "crinn/base/error.h"
#include "crinn/gpu/comm.h"

namespace crinn::gpu {
namespace {

constexpr int kMostRanks = 1 << 16;

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCategory::kUsage, "find_launch: " + message);
}

/// The variable as a number in [low, high).
int number_of(const Environment& variable, const char* name, int low, int high) {
  const char* text = variable(name);
  if (!text) refuse(fmt::format("{} is not set, while other variables of the launcher are", name));
  const std::string_view value = text;
  int number = 0;
  const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (fault != std::errc() || end != value.data() + value.size() || number < low ||
      number >= high) {
    refuse(fmt::format("{} = '{}' is no number from {} to {}", name, value, low, high - 1));
  }
  return number;
}

std::string text_of(const Environment& variable, const char* name) {
  const char* text = variable(name);
  return text ? text : "";
}

/// MASTER_ADDR and the port that is free for rank 0.
std::string master(const Environment& variable) {
  std::string host = text_of(variable, "MASTER_ADDR");
  if (host.empty()) {
    refuse("MASTER_ADDR is not set: give --rendezvous HOST:PORT, or a file that all ranks see");
  }
  int port = number_of(variable, "MASTER_PORT", 1, 1 << 16);
  const bool taken = text_of(variable, "TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (taken) port += port < (1 << 16) - 1 ? 1 : -1;
  if (host.find(':') != std::string::npos) host = fmt::format("[{}]", host);
  return fmt::format("{}:{}", host, port);
}

/// The launchers' names for the same things.
struct Names {
  const char *size, *rank, *local_rank, *run, *step, *restart;
};
constexpr Names kTorchrun = {"WORLD_SIZE",          "RANK", "LOCAL_RANK",
                             "TORCHELASTIC_RUN_ID", "",     "TORCHELASTIC_RESTART_COUNT"};
// Not SLURM_NTASKS: a batch script has it too, and is one process.
constexpr Names kSrun = {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID",  "SLURM_LOCALID",
                         "SLURM_JOB_ID",         "SLURM_STEP_ID", "SLURM_RESTART_COUNT"};

}  // namespace

Launch find_launch(std::string_view rendezvous, const Environment& variable) {
  for (const Names& names : {kTorchrun, kSrun}) {
    if (!variable(names.size)) continue;
    Launch launch;
    launch.size = number_of(variable, names.size, 1, kMostRanks);
    if (launch.size == 1) return launch;
    launch.rank = number_of(variable, names.rank, 0, launch.size);
    launch.local_rank = number_of(variable, names.local_rank, 0, launch.size);
    launch.rendezvous = rendezvous.empty() ? master(variable) : std::string(rendezvous);
    for (const char* part : {names.run, names.step, names.restart}) {
      if (const std::string text = text_of(variable, part); !text.empty()) {
        launch.run += (launch.run.empty() ? "" : ".") + text;
      }
    }
    return launch;
  }
  return {};
}

}  // namespace crinn::gpu
