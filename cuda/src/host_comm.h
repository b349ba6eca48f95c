// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "connection.h"
#include "crinn/gpu/comm.h"

namespace crinn::gpu {

/// make_host_comm()'s ranks: everything goes through rank 0, which also passes on who has failed.
/// NCCL's ranks stand on it: it carries their id, and sees who dies while NCCL waits.
class HostComm final : public Comm {
 public:
  /// Errors as make_host_comm().
  HostComm(const Launch& launch, const CommTimeouts& timeouts);
  ~HostComm() override { leave(); }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(ranks_.size()); }
  std::vector<std::byte> all_gather(std::span<const std::byte> mine) override;

  /// Tells the others that this rank makes no more calls.
  void leave();
  /// For the time between calls: throws Error that begins with `operation` where a rank has failed
  /// or died. One that has left is no fault yet.
  void watch(const std::string& operation);
  /// Tells the others that `operation` failed on this rank, and why, and throws the same.
  [[noreturn]] void fail(ErrorCategory category, const std::string& operation,
                         const std::string& why);
  /// Whether the others know that the task has ended.
  bool failed() const { return failed_; }

 private:
  std::vector<std::byte> gather(std::span<const std::byte> mine);
  std::vector<std::byte> give_and_get(std::span<const std::byte> mine);
  /// Ends the task where rank r has died, failed or, unless it may, left.
  void check(int r, const std::string& operation, bool may_leave);
  /// Throws; rank 0 tells the others before.
  [[noreturn]] void end(ErrorCategory category, const std::string& operation,
                        const std::string& why);

  int rank_;
  std::chrono::milliseconds timeout_;
  std::vector<Connection> ranks_;  // as meet() returns them
  bool failed_ = false, left_ = false;
};

}  // namespace crinn::gpu
