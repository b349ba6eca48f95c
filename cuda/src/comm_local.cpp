// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <condition_variable>
#include <mutex>

#include "crinn/base/error.h"
#include "crinn/gpu/comm.h"

namespace crinn::gpu {
namespace {

/// What the ranks share.
struct Meeting {
  explicit Meeting(int ranks) : size(ranks), parts(static_cast<std::size_t>(ranks)) {}

  const int size;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::span<const std::byte>> parts;  // of the round that is being gathered
  int arrived = 0;
  int64_t round = 0;
  std::vector<std::byte> result;  // of the last round: the next ends when all have copied it
  std::string fault;              // of the last round; empty: none
  int left = -1;                  // the first rank that left
};

class LocalComm final : public Comm {
 public:
  LocalComm(std::shared_ptr<Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}

  ~LocalComm() override {
    const std::lock_guard lock(meeting_->mutex);
    if (meeting_->left < 0) meeting_->left = rank_;
    meeting_->changed.notify_all();
  }

  int rank() const override { return rank_; }
  int size() const override { return meeting_->size; }

  std::vector<std::byte> all_gather(std::span<const std::byte> mine) override {
    Meeting& meeting = *meeting_;
    std::unique_lock lock(meeting.mutex);
    meeting.parts[static_cast<std::size_t>(rank_)] = mine;
    const int64_t round = meeting.round;
    if (meeting.left < 0 && ++meeting.arrived == meeting.size) {
      finish_round();
    } else {
      meeting.changed.wait(lock, [&] { return meeting.round > round || meeting.left >= 0; });
    }
    if (meeting.round == round) {
      throw Error(ErrorCategory::kDevice, fmt::format("all_gather: rank {} of {}: rank {} has left",
                                                      rank_, meeting.size, meeting.left));
    }
    if (!meeting.fault.empty()) throw Error(ErrorCategory::kUsage, meeting.fault);
    return meeting.result;
  }

 private:
  void finish_round() {
    Meeting& meeting = *meeting_;
    meeting.result.clear();
    meeting.fault.clear();
    for (std::size_t r = 0; r < meeting.parts.size(); ++r) {
      const std::span<const std::byte> part = meeting.parts[r], first = meeting.parts[0];
      if (part.size() != first.size() && meeting.fault.empty()) {
        meeting.fault = fmt::format("all_gather: rank 0 gives {} bytes, rank {} gives {}",
                                    first.size(), r, part.size());
      }
      meeting.result.insert(meeting.result.end(), part.begin(), part.end());
    }
    meeting.arrived = 0;
    ++meeting.round;
    meeting.changed.notify_all();
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Comm>> make_local_comms(int ranks) {
  if (ranks < 1) {
    throw Error(ErrorCategory::kUsage, fmt::format("make_local_comms: {} ranks", ranks));
  }
  const auto meeting = std::make_shared<Meeting>(ranks);
  std::vector<std::unique_ptr<Comm>> comms;
  for (int rank = 0; rank < ranks; ++rank) {
    comms.push_back(std::make_unique<LocalComm>(meeting, rank));
  }
  return comms;
}

}  // namespace crinn::gpu
