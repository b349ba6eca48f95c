// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "crinn/base/rng.h"

namespace crinn::gpu {

/// Parts of a block of the CPU's twin, and what happens by itself beside them, in an order drawn
/// from a seed. Parts are threads of which one runs at a time: the same seed is the same run.
class HostSchedule {
 public:
  explicit HostSchedule(uint64_t seed) : rng_(seed) {}

  /// Something that happens by itself at any time from now on.
  void later(std::function<void()> event) { events_.push_back(std::move(event)); }

  /// Called by a running part: others may run, and this one goes on when ready().
  void wait(std::function<bool()> ready) {
    std::unique_lock lock(mutex_);
    const int part = running_;
    ready_[static_cast<std::size_t>(part)] = std::move(ready);
    pick();
    changed_.notify_all();
    changed_.wait(lock, [&] { return running_ == part || error_; });
    if (error_) throw std::runtime_error("another part of the block failed");
  }

  /// Returns when all are done. Throws the first error of a part, or that none can go on.
  void run(const std::vector<std::function<void()>>& parts) {
    ready_.assign(parts.size(), [] { return true; });
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      threads.emplace_back([this, &parts, i] { run_part(parts[i], static_cast<int>(i)); });
    }
    {
      const std::lock_guard lock(mutex_);
      pick();
    }
    changed_.notify_all();
    for (std::thread& thread : threads) thread.join();
    if (error_) std::rethrow_exception(error_);
    if (!events_.empty()) throw std::runtime_error("the block ended before its copies");
  }

 private:
  static constexpr int kNone = -1;

  void run_part(const std::function<void()>& part, int number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == number || error_; });
    if (!error_) {
      lock.unlock();
      std::exception_ptr error;
      try {
        part();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !error_) error_ = error;
      ready_[static_cast<std::size_t>(number)] = nullptr;
      if (!error_) pick();
    }
    lock.unlock();
    changed_.notify_all();
  }

  void happen(std::size_t i) {
    const std::function<void()> event = std::move(events_[i]);
    events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(i));
    event();
  }

  /// Lets events happen and chooses the part that runs next.
  void pick() {
    try {
      for (;;) {
        std::vector<int> able;
        bool left = false;
        for (std::size_t i = 0; i < ready_.size(); ++i) {
          left |= static_cast<bool>(ready_[i]);
          if (ready_[i] && ready_[i]()) able.push_back(static_cast<int>(i));
        }
        if (!left) break;
        const auto choices = able.size() + events_.size();
        if (choices == 0) throw std::runtime_error("no part of the block can go on");
        const auto choice = static_cast<std::size_t>(rng_.below(choices));
        if (choice < able.size()) {
          running_ = able[choice];
          return;
        }
        happen(choice - able.size());
      }
    } catch (...) {
      error_ = std::current_exception();
    }
    running_ = kNone;
  }

  Rng rng_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int running_ = kNone;
  std::exception_ptr error_;
  std::vector<std::function<bool()>> ready_;  // of each part; null: it is done
  std::vector<std::function<void()>> events_;
};

}  // namespace crinn::gpu
