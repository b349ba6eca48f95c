// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "crinn/base/error.h"
#include "crinn/train/policy.h"

namespace crinn::train {
namespace {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> standardized(std::span<const double> rewards) {
  const double mean = mean_of(rewards);
  double squares = 0;
  for (double reward : rewards) squares += (reward - mean) * (reward - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(rewards.size() - 1));
  std::vector<double> result;
  for (double reward : rewards) result.push_back((reward - mean) / (deviation + 1e-4));
  return result;
}

std::vector<double> against_the_others(std::span<const double> rewards) {
  const double n = static_cast<double>(rewards.size());
  const double mean = mean_of(rewards);
  std::vector<double> result;
  for (double reward : rewards) result.push_back((reward - mean) * n / (n - 1));
  return result;
}

// Equal rewards share their mean rank, so a constant group gets zeros.
std::vector<double> centred_ranks(std::span<const double> rewards) {
  const std::size_t n = rewards.size();
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rewards[a] < rewards[b]; });
  std::vector<double> result(n);
  for (std::size_t first = 0; first < n;) {
    std::size_t last = first;
    while (last + 1 < n && rewards[order[last + 1]] == rewards[order[first]]) ++last;
    const double rank = 0.5 * static_cast<double>(first + last);
    for (std::size_t i = first; i <= last; ++i) {
      result[order[i]] = 2.0 * rank / static_cast<double>(n - 1) - 1.0;
    }
    first = last + 1;
  }
  return result;
}

}  // namespace

std::vector<double> group_advantages(std::span<const double> rewards, Advantage kind) {
  for (double reward : rewards) {
    if (!std::isfinite(reward)) {
      throw Error(ErrorCategory::kUsage,
                  "group_advantages: reward " + std::to_string(reward) + " is not finite");
    }
  }
  if (kind == Advantage::kNone) return {rewards.begin(), rewards.end()};
  // A group of one has nothing to be compared with; a constant one carries no preference, and
  // rounding in its mean must not be divided by a deviation of the same size.
  const auto [low, high] = std::minmax_element(rewards.begin(), rewards.end());
  if (rewards.size() < 2 || *high - *low <= 1e-12 * std::max(std::abs(*high), std::abs(*low))) {
    return std::vector<double>(rewards.size(), 0.0);
  }
  switch (kind) {
    case Advantage::kGroup: return standardized(rewards);
    case Advantage::kLeaveOneOut: return against_the_others(rewards);
    case Advantage::kRank: return centred_ranks(rewards);
    case Advantage::kNone: break;
  }
  return {rewards.begin(), rewards.end()};
}

}  // namespace crinn::train
