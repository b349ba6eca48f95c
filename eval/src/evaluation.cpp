// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace crinn::eval {

namespace {

std::vector<SystemPoint> average_points(const harness::Measurement& measurement, Side side) {
  struct Sum {
    double count = 0, log_qps = 0;
    SystemPoint total;
  };
  std::map<int, Sum> sums;
  for (const harness::RaceInstance& instance : measurement.instances) {
    for (const harness::RacePoint& point :
         side == Side::kBaseline ? instance.baseline : instance.candidate) {
      const auto usable = curve_of({&point, 1});
      if (usable.empty()) continue;
      Sum& sum = sums[point.ef];
      sum.count += 1;
      sum.log_qps += std::log(usable[0].qps);
      sum.total.recall += point.recall;
      sum.total.p50_us += point.p50_us;
      sum.total.p95_us += point.p95_us;
      sum.total.p99_us += point.p99_us;
      sum.total.distances_per_query += point.distances_per_query;
    }
  }
  std::vector<SystemPoint> points;
  for (const auto& [ef, sum] : sums) {
    const double n = sum.count;
    points.push_back({ef, sum.total.recall / n, std::exp(sum.log_qps / n), sum.total.p50_us / n,
                      sum.total.p95_us / n, sum.total.p99_us / n,
                      sum.total.distances_per_query / n});
  }
  return points;
}

/// The first line that names an error, else the first: compilers begin with where they are.
std::string_view telling_line(std::string_view evidence) {
  const std::size_t error = evidence.find("error:");
  const std::size_t before = evidence.rfind('\n', error);
  if (error != std::string_view::npos && before != std::string_view::npos) {
    evidence.remove_prefix(before + 1);
  }
  return evidence.substr(0, evidence.find('\n'));
}

}  // namespace

SystemResult summarise(const harness::Measurement& measurement, Side side, std::string name,
                       double band_low, double band_high) {
  const bool is_baseline = side == Side::kBaseline;
  const Assessment assessment = assess(measurement, band_low, band_high);
  SystemResult system;
  system.name = std::move(name);
  system.verdict = {measurement.outcome, measurement.stage, measurement.evidence, measurement.noise,
                    measurement.judge_seconds};
  if (is_baseline) {
    system.verdict.outcome = harness::Outcome::kValid;
    system.verdict.stage = harness::Stage::kDone;
    system.verdict.evidence.clear();
  }
  system.points = average_points(measurement, side);
  system.auc = is_baseline ? assessment.baseline_auc : assessment.candidate_auc;
  const harness::BuildCost& cost =
      is_baseline ? measurement.baseline_cost : measurement.candidate_cost;
  system.build_seconds = cost.build_seconds;
  system.index_bytes = cost.index_bytes;

  std::vector<std::vector<CurvePoint>> envelopes;
  for (const harness::RaceInstance& instance : measurement.instances) {
    envelopes.push_back(
        upper_envelope(curve_of(is_baseline ? instance.baseline : instance.candidate)));
  }
  for (const double recall : kFixedRecalls) {
    std::vector<double> logs;
    for (const auto& envelope : envelopes) {
      const double qps = qps_at(envelope, recall);
      if (qps > 0) logs.push_back(std::log(qps));
    }
    if (!logs.empty() && logs.size() == envelopes.size()) {
      system.qps.emplace_back(recall, ratio_interval(logs, measurement.seed));
    }
  }
  if (is_baseline) {
    system.auc_ratio = {1, 1, 1};
    for (const auto& [recall, qps] : system.qps) {
      system.qps_ratio.emplace_back(recall, Interval{1, 1, 1});
    }
  } else {
    system.auc_ratio = assessment.auc_ratio;
    system.qps_ratio = assessment.qps_ratio;
  }
  if (!measurement.instances.empty()) {
    const harness::RaceInstance& first = measurement.instances.front();
    for (const harness::RacePoint& point : is_baseline ? first.baseline : first.candidate) {
      if (!point.ids.empty()) system.answers.push_back(point);
    }
    std::sort(system.answers.begin(), system.answers.end(),
              [](const auto& a, const auto& b) { return a.ef < b.ef; });
  }
  return system;
}

std::string format_ratio(const Interval& ratio) {
  if (ratio.low == ratio.high) return fmt::format("{:.4g}x", ratio.estimate);
  if (!ratio.bounded()) return fmt::format("{:.3g}x (one run: no interval)", ratio.estimate);
  // Intervals are narrow when races go well: enough digits to tell 1.004 from 1.
  const int digits = ratio.estimate >= 10 ? 1 : ratio.high - ratio.low < 0.05 ? 3 : 2;
  return fmt::format("{:.{}f}x [{:.{}f}, {:.{}f}]", ratio.estimate, digits, ratio.low, digits,
                     ratio.high, digits);
}

std::string verdict_line(const SystemResult& system) {
  if (system.verdict.valid()) {
    return fmt::format("{}: valid, {} the baseline's area", system.name,
                       format_ratio(system.auc_ratio));
  }
  const std::string& evidence = system.verdict.evidence;
  std::string line =
      fmt::format("{}: {} (stage {})", system.name, harness::to_string(system.verdict.outcome),
                  harness::to_string(system.verdict.stage));
  if (!evidence.empty()) line += fmt::format(": {}", telling_line(evidence));
  return line;
}

}  // namespace crinn::eval
