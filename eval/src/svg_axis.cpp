// SPDX-License-Identifier: Apache-2.0
#include "svg_axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace crinn::eval::detail {

namespace {

/// 950, 1k, 2.5k, 20k, 1M.
std::string short_number(double value) {
  const double size = std::abs(value);
  if (size >= 1e9) return fmt::format("{:g}G", value / 1e9);
  if (size >= 1e6) return fmt::format("{:g}M", value / 1e6);
  if (size >= 1e3) return fmt::format("{:g}k", value / 1e3);
  return fmt::format("{:g}", value);
}

/// The smallest of 1, 2, 5 x 10^m that is >= raw.
double nice_step(double raw) {
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

}  // namespace

AxisMap::AxisMap(const Axis& axis, const std::vector<double>& values, double from, double to)
    : scale_(axis.scale), integers_(axis.integers), from_(from), to_(to) {
  bool any = false;
  for (const double value : values) {
    if (!drawable(value)) continue;
    low_ = any ? std::min(low_, value) : value;
    high_ = any ? std::max(high_, value) : value;
    any = true;
  }
  if (!any) low_ = scale_ == Scale::kLog ? 1 : 0, high_ = scale_ == Scale::kLog ? 10 : 1;
  if (scale_ == Scale::kLog) {
    low_ /= 1.08, high_ *= 1.08;
  } else if (scale_ == Scale::kLinear) {
    if (high_ <= low_) {
      // One value: room on both sides of it.
      const double room = low_ == 0 ? 1 : std::abs(low_) * 0.1;
      low_ -= room, high_ += room;
    }
    const double step = nice_step((high_ - low_) / 5);
    low_ = std::floor(low_ / step + 1e-9) * step;
    high_ = std::ceil(high_ / step - 1e-9) * step;
  }
  if (axis.low && drawable(*axis.low)) low_ = *axis.low;
  if (axis.high && drawable(*axis.high)) high_ = *axis.high;
  if (scale_ == Scale::kRecall) {
    low_ = std::clamp(low_, 0.0, 0.9999), high_ = std::clamp(high_, low_, 1.0);
    if (high_ - low_ < 1e-4) low_ = std::max(0.0, low_ - 0.05), high_ = std::min(1.0, high_ + 0.05);
  } else if (!(high_ > low_)) {
    high_ = scale_ == Scale::kLog ? low_ * 10 : low_ + 1;
  }
}

bool AxisMap::drawable(double value) const {
  if (!std::isfinite(value)) return false;
  if (scale_ == Scale::kLog) return value > 0;
  return scale_ != Scale::kRecall || value <= 1;
}

double AxisMap::warp(double value) const {
  switch (scale_) {
    case Scale::kLinear: break;
    case Scale::kLog: return std::log10(value);
    case Scale::kRecall: return -std::log10(1.001 - value);
  }
  return value;
}

double AxisMap::pixel(double value) const {
  return from_ + (to_ - from_) * (warp(value) - warp(low_)) / (warp(high_) - warp(low_));
}

std::vector<Tick> AxisMap::linear_ticks(double spacing) const {
  std::vector<Tick> ticks;
  const double count = std::max(1.0, std::floor(std::abs(to_ - from_) / std::max(spacing, 60.0)));
  double step = nice_step((high_ - low_) / count);
  if (integers_) step = std::max(1.0, std::round(step));
  const double first = std::ceil(low_ / step - 1e-9);
  const double last = std::floor(high_ / step + 1e-9);
  for (double i = first; i <= last && i < first + 100; ++i) {
    const double value = i == 0 ? 0 : i * step;
    ticks.push_back({value, short_number(value)});
  }
  return ticks;
}

std::vector<Tick> AxisMap::log_ticks() const {
  // Decades first, then what halves them, then the rest: the caller keeps what finds room.
  std::vector<Tick> ticks;
  const int first = static_cast<int>(std::floor(std::log10(low_)));
  const int last = static_cast<int>(std::ceil(std::log10(high_)));
  for (const double digit : {1.0, 5.0, 2.0, 3.0, 7.0, 1.5, 4.0, 6.0, 8.0}) {
    for (int power = first; power <= last; ++power) {
      const double value = digit * std::pow(10.0, power);
      if (inside(value)) ticks.push_back({value, short_number(value)});
    }
  }
  return ticks;
}

std::vector<Tick> AxisMap::recall_ticks() const {
  std::vector<Tick> ticks;
  for (const double value : {0.9, 0.99,  0.95, 1.0,  0.999, 0.85, 0.8, 0.5, 0.98, 0.0,  0.995, 0.7,
                             0.6, 0.998, 0.92, 0.97, 0.4,   0.3,  0.2, 0.1, 0.75, 0.94, 0.96}) {
    if (inside(value)) ticks.push_back({value, fmt::format("{:g}", value)});
  }
  return ticks;
}

std::vector<Tick> AxisMap::ticks(double spacing) const {
  if (scale_ == Scale::kLinear) return linear_ticks(spacing);
  std::vector<Tick> kept;
  for (Tick& tick : scale_ == Scale::kLog ? log_ticks() : recall_ticks()) {
    const double place = pixel(tick.value);
    const bool room = std::all_of(kept.begin(), kept.end(), [&](const Tick& other) {
      return std::abs(pixel(other.value) - place) >= spacing;
    });
    if (room) kept.push_back(std::move(tick));
  }
  std::sort(kept.begin(), kept.end(),
            [](const Tick& a, const Tick& b) { return a.value < b.value; });
  return kept;
}

}  // namespace crinn::eval::detail
