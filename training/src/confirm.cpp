// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>

#include "crinn/base/rng.h"
#include "crinn/train/champion.h"
#include "crinn/train/run_log.h"
#include "crinn/train/source_key.h"
#include "crinn/train/stop.h"

namespace crinn::train {

Confirmation confirm(const harness::Triple& champion, const harness::Triple& baseline,
                     const std::vector<ConfirmTarget>& targets, const Config& config,
                     Archive& archive) {
  Confirmation result;
  for (const ConfirmTarget& target : targets) {
    if (const int signal = stop_signal()) throw Stopped{signal};
    const std::unique_ptr<Evaluator> evaluator = target.make();
    const std::string key = measurement_key(champion, baseline, harness::Role::kSearch,
                                            evaluator->context(), "confirm");
    ConfirmedDataset entry{target.name, target.primary, false, {}, {}};
    if (auto known = archive.find(key)) {
      entry.measurement = *std::move(known);
    } else {
      const uint64_t seed = mix_seed(~config.seed, std::stoull(key.substr(0, 15), nullptr, 16));
      for (uint64_t attempt = 0; attempt < 2; ++attempt) {
        entry.measurement = evaluator->measure(champion, baseline, mix_seed(seed, attempt), 0);
        if (const int signal = stop_signal(); signal && !entry.measurement.valid()) {
          throw Stopped{signal};
        }
        if (entry.measurement.noise != harness::NoiseGrade::kUnusable) break;
      }
      // What is unusable is not kept: a resumed run tries again.
      if (entry.measurement.noise != harness::NoiseGrade::kUnusable) {
        archive.store(key, entry.measurement);
      }
    }
    const harness::Measurement& m = entry.measurement;
    entry.assessment = eval::assess(m, config.judge.band_low, config.judge.band_high);
    const eval::Interval& ratio = entry.assessment.auc_ratio;
    const std::string ratio_text = format_ratio(ratio.estimate, ratio.low, ratio.high);
    std::string failure;
    if (!m.valid()) {
      failure = fmt::format("{} at {} on {}: {}", harness::to_string(m.outcome),
                            harness::to_string(m.stage), target.name,
                            m.evidence.substr(0, m.evidence.find('\n')));
    } else if (m.noise == harness::NoiseGrade::kUnusable) {
      failure = fmt::format(
          "{} on held-out queries of {}, but the machine was too noisy for it to "
          "count: --resume auto measures again",
          ratio_text, target.name);
    } else if (target.primary && !(ratio.low > 1)) {
      failure = fmt::format("{} on held-out queries of {}", ratio_text, target.name);
    } else if (!target.primary && !(ratio.estimate >= 1 - config.confirm.regression_limit)) {
      failure = fmt::format("{} on {}, a loss of more than {:.1f} %", ratio_text, target.name,
                            100 * config.confirm.regression_limit);
    }
    entry.passed = failure.empty();
    result.datasets.push_back(std::move(entry));
    if (!failure.empty()) {
      const bool noisy = m.valid() && m.noise == harness::NoiseGrade::kUnusable;
      result.verdict = (noisy ? "not confirmed: " : "no gain found: ") + failure;
      return result;
    }
    if (target.primary) {
      result.verdict = fmt::format("confirmed: {} the baseline's area on held-out queries of {}",
                                   ratio_text, target.name);
    }
  }
  result.confirmed = !result.datasets.empty();
  if (!result.confirmed) result.verdict = "no gain found: no candidate beat the baseline";
  return result;
}

std::string confirmation_table(const Confirmation& confirmation) {
  std::string out = fmt::format("{:<28} {:<24} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9}\n", "data set",
                                "area", "QPS .90", ".95", ".99", ".999", "build", "memory");
  for (const ConfirmedDataset& entry : confirmation.datasets) {
    const eval::Interval& area = entry.assessment.auc_ratio;
    const harness::Measurement& m = entry.measurement;
    out += fmt::format("{:<28} {:<24}", entry.name,
                       m.valid() ? format_ratio(area.estimate, area.low, area.high)
                                 : harness::to_string(m.outcome));
    for (const double recall : {.90, .95, .99, .999}) {
      std::string cell = "-";
      for (const auto& [at, ratio] : entry.assessment.qps_ratio) {
        if (std::abs(at - recall) < 1e-9) cell = fmt::format("{:.2f}x", ratio.estimate);
      }
      out += fmt::format(" {:>8}", cell);
    }
    const auto cost = [](double candidate, double baseline) {
      return baseline > 0 ? fmt::format("{:.2f}x", candidate / baseline) : std::string("-");
    };
    out += fmt::format(" {:>9} {:>9}\n",
                       cost(m.candidate_cost.build_seconds, m.baseline_cost.build_seconds),
                       cost(m.candidate_cost.index_bytes, m.baseline_cost.index_bytes));
  }
  return out;
}

}  // namespace crinn::train
