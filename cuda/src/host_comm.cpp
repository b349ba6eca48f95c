// SPDX-License-Identifier: Apache-2.0
#include "host_comm.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "rendezvous.h"

namespace crinn::gpu {
namespace {

constexpr const char* kAllGather = "all_gather";

double seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

HostComm::HostComm(const Launch& launch, const CommTimeouts& timeouts)
    : rank_(launch.rank), timeout_(timeouts.gather), ranks_(meet(launch, timeouts.meeting)) {}

void HostComm::leave() {
  if (failed_ || std::exchange(left_, true)) return;
  for (Connection& rank : ranks_) {
    if (rank.open()) rank.send(FrameKind::kLeft, {}, Clock::now());
  }
}

std::vector<std::byte> HostComm::all_gather(std::span<const std::byte> mine) {
  if (size() == 1) return {mine.begin(), mine.end()};
  return rank_ == 0 ? gather(mine) : give_and_get(mine);
}

std::vector<std::byte> HostComm::gather(std::span<const std::byte> mine) {
  const std::size_t bytes = mine.size();
  std::vector<std::byte> all(bytes * ranks_.size());
  std::copy(mine.begin(), mine.end(), all.begin());
  std::vector<char> here(ranks_.size());
  const Deadline deadline = Clock::now() + timeout_;
  for (;;) {
    std::string missing;
    std::vector<int> fds;
    for (std::size_t r = 1; r < ranks_.size(); ++r) {
      Connection& rank = ranks_[r];
      check(static_cast<int>(r), kAllGather, false);
      if (const FrameHeader* frame = rank.next(); frame && !here[r]) {
        if (frame->bytes != bytes) {
          end(ErrorCategory::kUsage, kAllGather,
              fmt::format("rank 0 gives {} bytes, rank {} gives {}", bytes, r, frame->bytes));
        }
        here[r] = rank.take(all.data() + r * bytes);
        if (!here[r] && !rank.open()) {
          end(ErrorCategory::kDevice, kAllGather, fmt::format("rank {} is gone", r));
        }
      }
      if (!here[r]) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", r);
      fds.push_back(rank.fd());
    }
    if (missing.empty()) break;
    if (Clock::now() >= deadline) {
      end(ErrorCategory::kDevice, kAllGather,
          fmt::format("within {:g} s it was not called by rank {}", seconds(timeout_), missing));
    }
    wait_readable(fds, deadline);
  }
  for (std::size_t r = 1; r < ranks_.size(); ++r) {
    if (!ranks_[r].send(FrameKind::kData, all, Clock::now() + timeout_)) {
      end(ErrorCategory::kDevice, kAllGather, fmt::format("rank {} is gone", r));
    }
  }
  return all;
}

std::vector<std::byte> HostComm::give_and_get(std::span<const std::byte> mine) {
  Connection& host = ranks_[0];
  const auto patience = with_grace(timeout_);
  const Deadline deadline = Clock::now() + patience;
  host.send(FrameKind::kData, mine, deadline);  // whether it arrived shows in the answer
  std::vector<std::byte> all(mine.size() * ranks_.size());
  for (;;) {
    check(0, kAllGather, false);
    if (const FrameHeader* frame = host.next()) {
      if (frame->bytes != all.size()) {
        fail(ErrorCategory::kUsage, kAllGather,
             fmt::format("rank 0 answers with {} bytes, not {}", frame->bytes, all.size()));
      }
      if (host.take(all.data())) return all;
      if (!host.open()) end(ErrorCategory::kDevice, kAllGather, "rank 0 is gone");
    }
    if (Clock::now() >= deadline) {
      fail(ErrorCategory::kDevice, kAllGather,
           fmt::format("rank 0 does not answer within {:g} s", seconds(patience)));
    }
    wait_readable({host.fd()}, deadline);
  }
}

void HostComm::watch(const std::string& operation) {
  for (int r = rank_ == 0 ? 1 : 0; r < (rank_ == 0 ? size() : 1); ++r) check(r, operation, true);
}

void HostComm::check(int r, const std::string& operation, bool may_leave) {
  Connection& rank = ranks_[static_cast<std::size_t>(r)];
  const FrameHeader* frame = rank.next();
  if (!frame) {
    if (!rank.open()) end(ErrorCategory::kDevice, operation, fmt::format("rank {} is gone", r));
    return;
  }
  if (frame->kind == FrameKind::kLeft && !may_leave) {
    end(ErrorCategory::kDevice, operation, fmt::format("rank {} has left", r));
  }
  if (frame->kind == FrameKind::kFailed) {
    try {
      rank.throw_failure("");
    } catch (const Error& error) {
      end(error.category(), operation, error.what());
    }
  }
}

void HostComm::fail(ErrorCategory category, const std::string& operation, const std::string& why) {
  failed_ = true;
  for (Connection& rank : ranks_) {
    if (rank.open()) rank.send_failure(category, fmt::format("rank {}: {}", rank_, why));
  }
  throw Error(category, fmt::format("{}: rank {} of {}: {}", operation, rank_, size(), why));
}

void HostComm::end(ErrorCategory category, const std::string& operation, const std::string& why) {
  failed_ = true;
  for (Connection& rank : ranks_) {
    if (rank_ == 0 && rank.open()) rank.send_failure(category, why);
  }
  throw Error(category, fmt::format("{}: rank {} of {}: {}", operation, rank_, size(), why));
}

std::unique_ptr<Comm> make_host_comm(const Launch& launch, const CommTimeouts& timeouts) {
  return std::make_unique<HostComm>(launch, timeouts);
}

}  // namespace crinn::gpu
