// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace crinn::gpu {

/// One of several ranks that work on the same task. All ranks make the same calls in the same
/// order; one that destroys its Comm has left, and the others' calls fail.
class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// What every rank gives, in the order of ranks: [size, mine.size()]. Returns once all have
  /// called it. Throws Error (usage) where they give different numbers of bytes, Error (device)
  /// that names this rank and the one that has left, failed or did not come. An error is the end of
  /// the Comm.
  virtual std::vector<std::byte> all_gather(std::span<const std::byte> mine) = 0;
};

/// Ranks that are threads of this process, one Comm for each. They wait without limit for a rank
/// that neither calls nor leaves.
std::vector<std::unique_ptr<Comm>> make_local_comms(int ranks);

/// This process among those that a launcher started together.
struct Launch {
  int rank = 0, size = 1;
  int local_rank = 0;  ///< among the ranks of its machine
  /// Where rank 0 is met: HOST:PORT, or a file that all ranks see. Not needed for one rank.
  std::string rendezvous;
  std::string run;  ///< tells one run from the next; empty where the launcher does not say
};

using Environment = std::function<const char*(const char* name)>;

/// What torchrun's environment says (WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), else
/// srun's (SLURM_STEP_NUM_TASKS, SLURM_PROCID, SLURM_LOCALID, with MASTER_ADDR and MASTER_PORT from
/// the job's script); one rank where neither speaks. `rendezvous`, unless empty, replaces the
/// address. At torchrun's own port its store listens: ranks meet at the next one. Throws Error
/// (usage) that names the variable.
Launch find_launch(
    std::string_view rendezvous = {},
    const Environment& variable = [](const char* name) { return std::getenv(name); });

/// How long a rank waits for others that are alive, as far as can be seen. A rank that dies is
/// noticed at once, a machine that is cut off after about two minutes.
struct CommTimeouts {
  std::chrono::milliseconds meeting = std::chrono::minutes(5);  ///< for all ranks to come
  std::chrono::milliseconds gather = std::chrono::hours(1);     ///< in one all_gather
};

/// Processes connected by TCP, through rank 0. Returns once all have come. Throws Error (device)
/// that names the ranks that did not come, Error (usage) where the launches do not agree.
std::unique_ptr<Comm> make_host_comm(const Launch& launch, const CommTimeouts& timeouts = {});

/// Processes with a device each, connected by NCCL; they meet and watch each other as those of
/// make_host_comm(). Errors likewise; Error (device) too where this build or machine has no NCCL.
std::unique_ptr<Comm> make_nccl_comm(const Launch& launch, int device,
                                     const CommTimeouts& timeouts = {});

}  // namespace crinn::gpu
