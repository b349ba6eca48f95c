// SPDX-License-Identifier: Apache-2.0
#include "race_checks.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace crinn::harness {
namespace {

constexpr double kRepeatSpeedUp = 1.5;
constexpr double kUnseenSlowDown = 1.35, kUnseenRecallLoss = 0.08, kStandardErrors = 3;
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

/// How much slower the candidate gets on unseen queries than the baseline does: the mean over
/// points without the largest, since a point is short and something may have disturbed it. 0:
/// unknown.
double unseen_slow_down(const SideRecord& baseline, const SideRecord& candidate) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < candidate.unseen.slow_downs.size(); ++i) {
    ratios.push_back(candidate.unseen.slow_downs[i] / std::max(baseline.unseen.slow_downs[i], 0.5));
  }
  if (ratios.size() < 2) return 0;
  ratios.erase(std::max_element(ratios.begin(), ratios.end()));
  return std::accumulate(ratios.begin(), ratios.end(), 0.0) / static_cast<double>(ratios.size());
}

/// How much more recall the candidate loses on unseen queries than the baseline does on the same,
/// and the standard error of that.
std::pair<double, double> unseen_loss(const SideRecord& baseline, const SideRecord& candidate) {
  const auto n = static_cast<double>(candidate.unseen.losses.size());
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < candidate.unseen.losses.size(); ++i) {
    const double more = candidate.unseen.losses[i] - baseline.unseen.losses[i];
    sum += more;
    squares += more * more;
  }
  const double mean = sum / n;
  return {mean, std::sqrt(std::max(squares / n - mean * mean, 0.0) / n)};
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
  if (candidate.unseen.losses.empty()) return std::nullopt;
  const double slow_down = unseen_slow_down(baseline, candidate);
  if (slow_down > kUnseenSlowDown) {
    return Failure{
        Outcome::kWrong,
        fmt::format("search: beside the baseline, queries that were never seen take {:.2f} "
                    "times as long as the timed ones: answers are kept",
                    slow_down)};
  }
  const auto [loss, error] = unseen_loss(baseline, candidate);
  if (loss > kUnseenRecallLoss + kStandardErrors * error) {
    return Failure{Outcome::kWrong,
                   fmt::format("search: beside the baseline, queries that were never seen have a "
                               "recall {:.3f} lower than the timed ones: answers are kept",
                               loss)};
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
