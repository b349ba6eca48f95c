// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/progress.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace crinn {

std::string format_duration(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

Progress::Progress(std::string_view what, int64_t total)
    : what_(what), total_(std::max<int64_t>(total, 1)), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (terminal_ && shown_) std::fputs("\r\x1b[K", stderr);
}

void Progress::update(int64_t done) {
  const auto now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double since_last = std::chrono::duration<double>(now - last_).count();
  if (elapsed < 1.0 || since_last < (terminal_ ? 0.2 : 10.0) || done <= 0) return;
  last_ = now;
  const double fraction = static_cast<double>(done) / static_cast<double>(total_);
  const std::string left = format_duration(elapsed / fraction * (1.0 - fraction));
  const std::string line = fmt::format("{}: {:.0f} %, {} left", what_, 100.0 * fraction, left);
  if (terminal_) {
    std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
    shown_ = true;
  } else {
    spdlog::info(line);
  }
}

}  // namespace crinn
