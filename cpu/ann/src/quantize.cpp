// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/quantize.h"

#include <algorithm>
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
    default: return 0.9999f;
  }
}

/// The value at a rank in [0, 1]; reorders.
float at_rank(std::vector<float>& values, double rank) {
  const auto last = static_cast<double>(values.size() - 1);
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(rank * last + 0.5);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

}  // namespace

ScalarQuantizer::ScalarQuantizer(MatrixView<const float> sample, int bits, ScaleRule rule,
                                 float quantile)
    : bits_(bits) {
  if ((bits != 1 && bits != 2 && bits != 4 && bits != 8) || !(quantile >= 0 && quantile <= 1)) {
    throw Error(ErrorCategory::kUsage,
                "ScalarQuantizer: bits must be 1, 2, 4 or 8 and the quantile "
                "in [0, 1], not " +
                    std::to_string(bits) + " and " + std::to_string(quantile));
  }
  if (quantile == 0) quantile = default_quantile(bits);
  const int64_t d = sample.cols;
  half_ = bits == 8 ? 128.0f : static_cast<float>((1 << bits) - 1) * 0.5f;
  const float reach = bits == 8 ? 127.0f : half_;
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
    values.reserve(static_cast<std::size_t>(sample.rows * d));
    for (int64_t i = 0; i < sample.rows; ++i) {
      for (int64_t j = 0; j < d; ++j) values.push_back(std::fabs(sample.row(i)[j]));
    }
    float width = at_rank(values, static_cast<double>(quantile));
    // Mostly zeros: better a coarse step than none.
    if (!(width > 1e-30f)) width = *std::max_element(values.begin(), values.end());
    for (int64_t j = 0; j < d; ++j) set_step(j, width);
    return;
  }
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
    set_step(j, (high - low) * 0.5f);
  }
}

}  // namespace crinn::ann
