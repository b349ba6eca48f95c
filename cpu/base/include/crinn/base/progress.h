// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace crinn {

/// "3.2 s", "4 min 05 s", "1 h 02 min".
std::string format_duration(double seconds);

/// Progress of one long operation on stderr: one line rewritten in place on a terminal, a log line
/// every ten seconds otherwise, nothing when the operation is shorter than a second. Not for use
/// from several threads at once.
class Progress {
 public:
  Progress(std::string_view what, int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` of the total, with an estimate of the time left.
  void update(int64_t done);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

}  // namespace crinn
