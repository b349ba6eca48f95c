// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/schedule.h"

#include <algorithm>
#include <limits>

namespace crinn::train {

std::vector<Phase> phases_of(const ScheduleConfig& schedule) {
  std::vector<Phase> phases;
  for (int round = 0; round < schedule.rounds; ++round) {
    for (const harness::Role role : schedule.roles) {
      if (const int steps = schedule.steps.at(role); steps > 0) {
        phases.push_back({role, round, steps});
      }
    }
  }
  return phases;
}

double phase_seconds(const ScheduleConfig& schedule, const std::vector<Phase>& phases,
                     std::size_t index, double left) {
  if (schedule.wall_seconds <= 0) return std::numeric_limits<double>::infinity();
  double total = 0;
  for (std::size_t i = index; i < phases.size(); ++i) total += schedule.share.at(phases[i].role);
  if (total <= 0) return std::max(left, 0.0) / static_cast<double>(phases.size() - index);
  return std::max(left, 0.0) * schedule.share.at(phases[index].role) / total;
}

}  // namespace crinn::train
