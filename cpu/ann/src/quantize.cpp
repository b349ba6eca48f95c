// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "crinn/base/error.h"

namespace crinn::ann {
namespace {

/// The quantile that clips a normal distribution where the mean squared error is least.
float default_quantile(int bits) {
  switch (bits) {
    case 1: return 0.68f;
    case 2: return 0.93f;
    case 4: return 0.995f;
    default: return 1.0f;
  }
}

/// The width w of the range [-w, w] whose codes give inner products with the least squared error,
/// if queries are distributed like the sample: an error in a dimension weighs as much as its mean
/// square. A quantile of all values alike would clip the few dimensions that matter most after PCA.
float best_width(MatrixView<const float> sample, int bits, float half, float reach) {
  constexpr int kBins = 4096, kWidths = 48;
  float largest = 0;
  std::vector<double> weights(static_cast<std::size_t>(sample.cols));
  for (int64_t i = 0; i < sample.rows; ++i) {
    for (int64_t j = 0; j < sample.cols; ++j) {
      const float x = sample.row(i)[j];
      largest = std::max(largest, std::fabs(x));
      weights[static_cast<std::size_t>(j)] += static_cast<double>(x) * static_cast<double>(x);
    }
  }
  if (!(largest > 1e-30f)) return largest;
  std::vector<double> counts(kBins);
  const float to_bin = static_cast<float>(kBins - 1) / largest;
  for (int64_t i = 0; i < sample.rows; ++i) {
    for (int64_t j = 0; j < sample.cols; ++j) {
      const float place = std::fabs(sample.row(i)[j]) * to_bin + 0.5f;
      counts[static_cast<std::size_t>(place)] += weights[static_cast<std::size_t>(j)];
    }
  }
  const auto highest = static_cast<double>((1 << bits) - 1);
  double best_error = std::numeric_limits<double>::infinity();
  double best = 1;
  for (int i = 0; i < kWidths; ++i) {
    const double width = std::exp2(-i / 6.0);  // of the largest, down to 1 / 230
    const double step = width / static_cast<double>(reach);
    double error = 0;
    for (int bin = 0; bin < kBins; ++bin) {
      const double x = static_cast<double>(bin) / (kBins - 1);
      const double code = std::floor(x / step + static_cast<double>(half) + 0.5);
      const double value = (std::min(code, highest) - static_cast<double>(half)) * step;
      error += counts[static_cast<std::size_t>(bin)] * (x - value) * (x - value);
    }
    if (error < best_error) {
      best_error = error;
      best = width;
    }
  }
  // These have resolution to spare, and a clipped neighbour is lost to every query near it:
  // clip only what is far out.
  if (is_fine(bits)) best = std::min(1.0, 2 * best);
  return static_cast<float>(best) * largest;
}

/// The value at a rank in [0, 1]; reorders.
float at_rank(std::vector<float>& values, double rank) {
  const auto last = static_cast<double>(values.size() - 1);
  const auto place = values.begin() + std::lround(rank * last);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

}  // namespace

ScalarQuantizer::ScalarQuantizer(MatrixView<const float> sample, int bits, ScaleRule rule,
                                 float quantile)
    : bits_(bits) {
  if ((bits != 1 && bits != 2 && bits != 4 && bits != 7 && bits != 8) ||
      !(quantile >= 0 && quantile <= 1)) {
    throw Error(ErrorCategory::kUsage,
                "ScalarQuantizer: bits must be 1, 2, 4, 7 or 8 and the quantile "
                "in [0, 1], not " +
                    std::to_string(bits) + " and " + std::to_string(quantile));
  }
  const int64_t d = sample.cols;
  half_ = is_fine(bits) ? static_cast<float>(1 << (bits - 1))
                        : static_cast<float>((1 << bits) - 1) * 0.5f;
  const float reach = is_fine(bits) ? half_ - 1 : half_;
  center_.assign(static_cast<std::size_t>(d), 0.0f);
  step_.assign(static_cast<std::size_t>(d), 1.0f);
  inverse_.assign(static_cast<std::size_t>(d), 1.0f);
  std::vector<float> values;
  const auto set_step = [&](int64_t j, float width) {
    // Nothing to resolve, or less than fp32 has: codes stay at the centre's.
    const bool flat = !(width > 1e-30f);
    step_[j] = flat ? 0.0f : width / reach;
    inverse_[j] = flat ? 0.0f : reach / width;
  };
  if (rule == ScaleRule::kGlobal) {
    float width = 0;
    if (quantile == 0) {
      width = best_width(sample, bits, half_, reach);
    } else {
      values.reserve(static_cast<std::size_t>(sample.rows * d));
      for (int64_t i = 0; i < sample.rows; ++i) {
        for (int64_t j = 0; j < d; ++j) values.push_back(std::fabs(sample.row(i)[j]));
      }
      width = at_rank(values, static_cast<double>(quantile));
      // Mostly zeros: better a coarse step than none.
      if (!(width > 1e-30f)) width = *std::max_element(values.begin(), values.end());
    }
    for (int64_t j = 0; j < d; ++j) set_step(j, width);
    global_step_ = step_[0];
    return;
  }
  // The extremes of a sample are not those of all: fine codes can afford some room for these.
  const float room = quantile == 0 && is_fine(bits) ? 1.25f : 1.0f;
  if (quantile == 0) quantile = default_quantile(bits);
  const double tail = (1.0 - static_cast<double>(quantile)) * 0.5;
  values.resize(static_cast<std::size_t>(sample.rows));
  for (int64_t j = 0; j < d; ++j) {
    for (int64_t i = 0; i < sample.rows; ++i) values[i] = sample.row(i)[j];
    float low = at_rank(values, tail), high = at_rank(values, 1.0 - tail);
    if (!(high - low > 1e-30f)) {
      low = *std::min_element(values.begin(), values.end());
      high = *std::max_element(values.begin(), values.end());
    }
    center_[j] = (low + high) * 0.5f;
    set_step(j, (high - low) * 0.5f * room);
  }
}

}  // namespace crinn::ann
