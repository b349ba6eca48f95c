// SPDX-License-Identifier: Apache-2.0
#include "ranks.h"

#include <fmt/format.h>

#include <algorithm>

#include "crinn/base/error.h"
#include "crinn/gpu/knn.h"

namespace crinn::eval {
namespace {

void check(const ToolOptions& options, int ranks) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorCategory::kUsage, message);
  };
  if (ranks == 1) {
    if (!options.rendezvous.empty()) {
      refuse("--rendezvous: neither torchrun nor srun started several ranks");
    }
    return;
  }
  if (!options.truth_only && options.truth != TruthSource::kGpu) {
    refuse(
        fmt::format("{} ranks were started, and all they share is the search for exact "
                    "neighbours: add --groundtruth-only or --gpu-groundtruth, or start one",
                    ranks));
  }
  if (options.truth == TruthSource::kFile) {
    refuse(
        fmt::format("--groundtruth file: {} ranks were started, but nothing is searched", ranks));
  }
  if (options.devices_given) {
    refuse(
        "--devices: of several ranks each has the device of its local rank; "
        "CUDA_VISIBLE_DEVICES says which there are");
  }
}

/// The device of a local rank; 0 where a rank sees its own only, as under srun --gpus-per-task.
int device_of(int local_rank) { return gpu::device_status(local_rank).available ? local_rank : 0; }

}  // namespace

Ranks join_ranks(const ToolOptions& options) {
  const gpu::Launch launch = gpu::find_launch(options.rendezvous);
  check(options, launch.size);
  if (launch.size == 1) return {};
  gpu::CommTimeouts timeouts;
  timeouts.gather = std::chrono::seconds(options.rank_timeout);
  timeouts.meeting = std::min(timeouts.meeting, timeouts.gather);
  if (options.truth != TruthSource::kGpu) return {gpu::make_host_comm(launch, timeouts)};
  const int device = device_of(launch.local_rank);
  return {gpu::make_nccl_comm(launch, device, timeouts), device};
}

}  // namespace crinn::eval
