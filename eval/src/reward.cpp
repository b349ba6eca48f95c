// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/reward.h"

#include <algorithm>

#include "crinn/base/error.h"

namespace crinn::eval {

namespace {

double log_ratio(double candidate, double baseline) {
  const double limit = std::log(kLargestRatio);
  if (candidate <= 0 && baseline <= 0) return 0;
  if (candidate <= 0) return -limit;
  if (baseline <= 0) return limit;
  return std::clamp(std::log(candidate) - std::log(baseline), -limit, limit);
}

Interval clamp_to_positive(Interval interval) {
  interval.low = std::max(interval.low, 0.0);
  return interval;
}

}  // namespace

double invalid_reward(harness::Outcome outcome, harness::Stage stage) {
  constexpr double kFloor = -6, kLastOutcome = static_cast<int>(harness::Outcome::kOverCap),
                   kLastStage = static_cast<int>(harness::Stage::kDone), kStageShare = 0.5;
  const double reached = std::min<double>(static_cast<int>(outcome), kLastOutcome) +
                         kStageShare * static_cast<int>(stage) / kLastStage;
  return kFloor + (kInvalidCeiling - kFloor) * reached / (kLastOutcome + kStageShare);
}

Assessment assess(const harness::Measurement& measurement, double low, double high) {
  if (!(low >= 0 && low < high && high <= 1)) {
    throw Error(ErrorCategory::kUsage, "assess: the recall band [" + std::to_string(low) + ", " +
                                           std::to_string(high) + "] is not within [0, 1]");
  }
  if (measurement.valid() && measurement.instances.empty()) {
    throw Error(ErrorCategory::kData, "assess: a valid measurement holds no race");
  }
  Assessment result;
  std::vector<double> baseline_areas, candidate_areas, log_ratios;
  std::vector<std::vector<CurvePoint>> baseline, candidate;
  for (const harness::RaceInstance& instance : measurement.instances) {
    baseline.push_back(upper_envelope(curve_of(instance.baseline)));
    candidate.push_back(upper_envelope(curve_of(instance.candidate)));
    baseline_areas.push_back(area(baseline.back(), low, high));
    candidate_areas.push_back(area(candidate.back(), low, high));
    log_ratios.push_back(log_ratio(candidate_areas.back(), baseline_areas.back()));
  }
  if (!log_ratios.empty()) {
    result.baseline_auc = clamp_to_positive(mean_interval(baseline_areas, measurement.seed));
    result.candidate_auc = clamp_to_positive(mean_interval(candidate_areas, measurement.seed));
    result.auc_ratio = ratio_interval(log_ratios, measurement.seed);
    for (const double recall : kFixedRecalls) {
      std::vector<double> logs;
      for (std::size_t i = 0; i < baseline.size(); ++i) {
        const double b = qps_at(baseline[i], recall), c = qps_at(candidate[i], recall);
        if (b > 0 && c > 0) logs.push_back(log_ratio(c, b));
      }
      if (logs.size() == baseline.size()) {
        result.qps_ratio.emplace_back(recall, ratio_interval(logs, measurement.seed));
      }
    }
  }
  result.reward = measurement.valid() ? std::max(std::log(result.auc_ratio.estimate), kValidFloor)
                                      : invalid_reward(measurement.outcome, measurement.stage);
  return result;
}

}  // namespace crinn::eval
