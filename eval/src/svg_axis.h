// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "crinn/eval/svg_plot.h"

namespace crinn::eval::detail {

struct Tick {
  double value = 0;
  std::string label;
};

/// An axis with its range decided: maps values to pixels and knows its ticks.
class AxisMap {
 public:
  /// `values` are the finite values to show; pixels run from `from` (low) to `to` (high).
  AxisMap(const Axis& axis, const std::vector<double>& values, double from, double to);

  /// May this value be drawn at all (finite, positive on a log axis, at most 1 for a recall)?
  bool drawable(double value) const;
  double pixel(double value) const;
  bool inside(double value) const { return value >= low_ && value <= high_; }
  double low() const { return low_; }
  double high() const { return high_; }

  /// Labelled ticks, at least `spacing` pixels apart.
  std::vector<Tick> ticks(double spacing) const;

 private:
  double warp(double value) const;
  std::vector<Tick> log_ticks() const;
  std::vector<Tick> recall_ticks() const;
  std::vector<Tick> linear_ticks(double spacing) const;

  Scale scale_;
  bool integers_;
  double low_ = 0, high_ = 1, from_, to_;
};

}  // namespace crinn::eval::detail
