// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "crinn/eval/reward.h"

namespace crinn::eval {

namespace {

constexpr std::size_t kFewestForBootstrap = 8;
constexpr std::size_t kResamples = 4000;

/// Student's t quantile at .975.
double t_quantile(std::size_t degrees) {
  constexpr std::array<double, 30> kTable = {
      12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
      2.2010,  2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
      2.0796,  2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
  if (degrees <= kTable.size()) return kTable[degrees - 1];
  // First Cornish-Fisher term; off by less than 5e-4 from here on.
  const double z = 1.959964;
  return z + (z * z * z + z) / (4 * static_cast<double>(degrees));
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Interval t_interval(std::span<const double> values) {
  const double n = static_cast<double>(values.size()), mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double half = t_quantile(values.size() - 1) * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

Interval bootstrap_interval(std::span<const double> values, uint64_t seed) {
  Rng rng(seed);
  const std::size_t n = values.size();
  std::vector<double> means(kResamples);
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += values[rng.below(n)];
    mean = sum / static_cast<double>(n);
  }
  std::sort(means.begin(), means.end());
  const double size = static_cast<double>(n);
  const double tail = normal_cdf(-std::sqrt(size / (size - 1)) * t_quantile(n - 1));
  const auto low = static_cast<std::size_t>(tail * kResamples);
  // Resampled means of equal values differ from their mean by rounding only.
  const double mean = mean_of(values);
  return {mean, std::min(mean, means[low]), std::max(mean, means[kResamples - 1 - low])};
}

}  // namespace

Interval mean_interval(std::span<const double> values, uint64_t seed) {
  if (values.empty()) throw Error(ErrorCategory::kUsage, "mean_interval: no values");
  if (values.size() == 1) {
    const double inf = std::numeric_limits<double>::infinity();
    return {values[0], -inf, inf};
  }
  return values.size() < kFewestForBootstrap ? t_interval(values)
                                             : bootstrap_interval(values, seed);
}

Interval ratio_interval(std::span<const double> log_ratios, uint64_t seed) {
  const Interval log = mean_interval(log_ratios, seed);
  return {std::exp(log.estimate), std::exp(log.low), std::exp(log.high)};
}

}  // namespace crinn::eval
