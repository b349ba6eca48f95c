// SPDX-License-Identifier: Apache-2.0
#include "race_checks.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

namespace crinn::harness {
namespace {

constexpr double kRepeatSpeedUp = 1.5;
constexpr double kUnseenSlowDown = 1.35, kUnseenRecallLoss = 0.08;
constexpr double kHiddenShare = 0.5, kHiddenSeconds = 0.1;

struct Work {
  double shown = 0, excess = 0;  ///< CPU seconds
};

Work work_of(const SideRecord& side) {
  Work work;
  for (const PointState& at : side.points) {
    const double shown = seconds_per_query(at) * static_cast<double>(at.queries);
    work.shown += shown;
    work.excess += at.cpu_seconds - shown;
  }
  return work;
}

}  // namespace

std::optional<Failure> check_repeats(const SideRecord& baseline, const SideRecord& candidate) {
  if (candidate.repeat_ratios.empty() || baseline.repeat_ratios.empty()) return std::nullopt;
  const double usual = std::max(1.0, trimmed_mean(baseline.repeat_ratios));
  const double ratio = trimmed_mean(candidate.repeat_ratios);
  if (ratio <= kRepeatSpeedUp * usual) return std::nullopt;
  return Failure{Outcome::kWrong,
                 fmt::format("search: repeated queries are {:.1f} times faster (baseline {:.1f}): "
                             "answers are kept from one query to the next",
                             ratio, usual)};
}

std::optional<Failure> check_unseen(const SideRecord& baseline, const SideRecord& candidate) {
  const SideRecord::Unseen &usual = baseline.unseen, &found = candidate.unseen;
  if (usual.queries == 0 || found.queries == 0) return std::nullopt;
  const double usual_ratio = std::max(1.0, usual.seconds / usual.expected_seconds);
  const double ratio = found.seconds / found.expected_seconds;
  if (ratio > kUnseenSlowDown * usual_ratio) {
    return Failure{Outcome::kWrong,
                   fmt::format("search: queries that were never seen take {:.2f} times as long as "
                               "the timed ones (baseline {:.2f}): answers are kept",
                               ratio, usual_ratio)};
  }
  const auto loss = [](const SideRecord::Unseen& side) {
    return (side.expected_recall - side.recall) / static_cast<double>(side.queries);
  };
  if (loss(found) > std::max(0.0, loss(usual)) + kUnseenRecallLoss) {
    return Failure{Outcome::kWrong,
                   fmt::format("search: queries that were never seen have a recall {:.3f} lower "
                               "than the timed ones (baseline {:.3f}): answers are kept",
                               loss(found), loss(usual))};
  }
  return std::nullopt;
}

std::optional<Failure> check_hidden_work(const SideRecord& baseline, const SideRecord& candidate) {
  const Work usual = work_of(baseline), work = work_of(candidate);
  const double share = std::max(0.0, usual.excess / usual.shown);
  const double hidden = work.excess - share * work.shown;
  if (hidden <= kHiddenShare * work.shown + kHiddenSeconds) return std::nullopt;
  return Failure{Outcome::kOverCap,
                 fmt::format("race: {:.2f} s of CPU time beyond the {:.2f} s that the timed slices "
                             "account for: work is put off or done between them",
                             hidden, work.shown)};
}

}  // namespace crinn::harness
