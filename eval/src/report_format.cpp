// SPDX-License-Identifier: Apache-2.0
#include "report_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace crinn::eval {

namespace {

/// 10500.3 [10400.9, 10600] with as many digits as its size allows.
std::string format_area(const Interval& auc) {
  const auto one = [](double value) {
    return std::abs(value) >= 100 ? format_count(value) : fmt::format("{:.3g}", value);
  };
  if (!auc.bounded()) return one(auc.estimate);
  return fmt::format("{} [{}, {}]", one(auc.estimate), one(auc.low), one(auc.high));
}

}  // namespace

std::string format_count(double value) {
  if (!std::isfinite(value)) return std::string(kAbsent);
  if (std::abs(value) < 100 && value != std::floor(value)) return fmt::format("{:.1f}", value);
  std::string digits = fmt::format("{:.0f}", value);
  const std::size_t first = digits.starts_with('-') ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3;) digits.insert(i -= 3, 1, ',');
  return digits;
}

std::string format_mib(double bytes) { return fmt::format("{:.1f}", bytes / (1024.0 * 1024.0)); }

std::string describe_data(const Evaluation& e) {
  return fmt::format("{}: {} x {}, {}, {} queries, recall@{} against exact neighbours ({})",
                     e.dataset, format_count(static_cast<double>(e.base_count)), e.dimension,
                     e.metric, format_count(static_cast<double>(e.query_count)), e.k,
                     e.truth_source);
}

std::string describe_noise(const Evaluation& e) {
  const std::string_view meaning =
      e.noise == harness::NoiseGrade::kQuiet   ? "differences outside the intervals are real"
      : e.noise == harness::NoiseGrade::kNoisy ? "other work shared the machine: trust ratios, not "
                                                 "absolute QPS"
                                               : "too much other work: measure again";
  return fmt::format("Noise: {} ({}); steal {:.1f} %; {} runs of fresh processes a race",
                     harness::to_string(e.noise), meaning, 100 * e.steal_fraction, e.instances);
}

std::vector<std::string> fixed_recall_header() {
  std::vector<std::string> header = {"system"};
  for (const double recall : kFixedRecalls) header.push_back(fmt::format("{:g}", recall));
  for (const double recall : kFixedRecalls) header.push_back(fmt::format("ratio {:g}", recall));
  return header;
}

std::vector<std::string> fixed_recall_row(const SystemResult& system) {
  std::vector<std::string> row = {system.name};
  for (const bool ratio : {false, true}) {
    const auto& values = ratio ? system.qps_ratio : system.qps;
    for (const double recall : kFixedRecalls) {
      const auto at = std::find_if(values.begin(), values.end(),
                                   [&](const auto& value) { return value.first == recall; });
      row.push_back(at == values.end() ? std::string(kAbsent)
                    : ratio            ? fmt::format("{:.2f}x", at->second.estimate)
                                       : format_count(at->second.estimate));
    }
  }
  return row;
}

std::vector<std::string> area_header() {
  return {"system", "area", "ratio to the baseline", "build s", "memory MiB"};
}

std::vector<std::string> area_row(const SystemResult& system) {
  if (system.points.empty()) {
    return {system.name, std::string(kAbsent),
            std::string(harness::to_string(system.verdict.outcome)), std::string(kAbsent),
            std::string(kAbsent)};
  }
  return {system.name, format_area(system.auc), format_ratio(system.auc_ratio),
          fmt::format("{:.2f}", system.build_seconds), format_mib(system.index_bytes)};
}

}  // namespace crinn::eval
