// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "crinn/train/config.h"

namespace crinn::train {

/// One module role, optimised on top of the best triple so far.
struct Phase {
  harness::Role role = harness::Role::kSearch;
  int round = 0;
  int steps = 0;
};

/// The roles in their order, round after round; roles with no steps are left out.
std::vector<Phase> phases_of(const ScheduleConfig& schedule);

/// Seconds that phase `index` may take when `left` seconds remain for it and all later ones: its
/// share of theirs. Infinite without a wall budget.
double phase_seconds(const ScheduleConfig& schedule, const std::vector<Phase>& phases,
                     std::size_t index, double left);

}  // namespace crinn::train
