// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/rng.h"
#include "crinn/eval/ground_truth.h"
#include "crinn/harness/judge.h"

namespace crinn::eval {

namespace {

std::optional<harness::Role> parse_role(std::string_view name) {
  for (const auto role :
       {harness::Role::kConstruction, harness::Role::kSearch, harness::Role::kRefinement}) {
    if (name == harness::to_string(role)) return role;
  }
  return std::nullopt;
}

harness::JudgeOptions judge_options(const EvaluateOptions& options) {
  harness::JudgeOptions judge;
  judge.work_folder = options.work_folder;
  judge.core = options.core;
  judge.degree = options.degree;
  judge.ef_construction = options.ef_construction;
  judge.build_threads = options.threads;
  judge.seed = options.seed;
  judge.band_low = options.band_low;
  judge.band_high = options.band_high;
  // A report shows the whole curve, the reward only its band.
  judge.sweep_low = 0.5;
  judge.sweep_high = 0.999;
  judge.min_points = 14;
  judge.instances = options.instances;
  judge.race_seconds = options.race_seconds;
  judge.keep_answers = options.keep_answers;
  return judge;
}

void note_conditions(const harness::Measurement& measurement, Evaluation& evaluation) {
  evaluation.noise = std::max(evaluation.noise, measurement.noise);
  evaluation.steal_fraction = std::max(evaluation.steal_fraction, measurement.steal_fraction);
}

}  // namespace

System load_system(std::string_view name) {
  if (name != "baseline" && name != "champion") {
    throw Error(ErrorCategory::kUsage,
                fmt::format("load_system: '{}' is none of: baseline, champion", name));
  }
  const std::filesystem::path folder = harness::module_folder() / name;
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("load_system: there is no {} here (no folder {}); available: baseline",
                            name, folder.string()));
  }
  return {std::string(name), harness::load_triple(name), false};
}

System load_candidate(const std::vector<std::string>& replacements) {
  if (replacements.empty()) throw Error(ErrorCategory::kUsage, "load_candidate: no module given");
  System system{{}, harness::load_triple("baseline"), true};
  std::vector<harness::Role> seen;
  for (const std::string& replacement : replacements) {
    const std::size_t equals = replacement.find('=');
    const auto role = parse_role(std::string_view(replacement).substr(0, equals));
    if (equals == std::string::npos || !role || equals + 1 == replacement.size()) {
      throw Error(ErrorCategory::kUsage,
                  fmt::format("load_candidate: '{}' is not MODULE=FILE with MODULE one of: "
                              "construction, search, refinement",
                              replacement));
    }
    if (std::find(seen.begin(), seen.end(), *role) != seen.end()) {
      throw Error(ErrorCategory::kUsage, fmt::format("load_candidate: the {} module is given twice",
                                                     harness::to_string(*role)));
    }
    seen.push_back(*role);
    const std::filesystem::path file = replacement.substr(equals + 1);
    system.triple.at(*role) = {*role, file.filename().string(), read_file(file)};
    if (!system.name.empty()) system.name += ",";
    system.name += fmt::format("{}={}", harness::to_string(*role), file.filename().string());
  }
  return system;
}

Evaluation evaluate(const Dataset& dataset, const std::vector<System>& systems,
                    const EvaluateOptions& options,
                    const std::function<void(const std::string&)>& progress) {
  const std::vector<double> kth = kth_distances(dataset.truth, options.k);
  const harness::Workload workload{
      dataset.name, dataset.metric, dataset.base.view(), dataset.queries.view(), kth, options.k};
  Evaluation evaluation;
  evaluation.dataset = dataset.name;
  evaluation.metric = to_string(dataset.metric);
  evaluation.base_count = dataset.base.rows();
  evaluation.query_count = dataset.queries.rows();
  evaluation.dimension = static_cast<int>(dataset.base.cols());
  evaluation.k = options.k;
  evaluation.band_low = options.band_low;
  evaluation.band_high = options.band_high;
  evaluation.instances = options.instances;
  evaluation.race_seconds = options.race_seconds;
  evaluation.degree = options.degree;
  evaluation.ef_construction = options.ef_construction;
  evaluation.seed = options.seed;

  harness::Judge judge(judge_options(options), workload);
  evaluation.layers = judge.layers();
  evaluation.machine = judge.machine();
  const System baseline = load_system("baseline");
  std::optional<SystemResult> baseline_result;
  const auto race = [&](const System& system, uint64_t stream) {
    progress(fmt::format("judging {} against the baseline ({} runs, {:g} s)", system.name,
                         options.instances, options.race_seconds));
    harness::Measurement measurement =
        judge.judge(system.triple, baseline.triple, mix_seed(options.seed, stream));
    note_conditions(measurement, evaluation);
    if (!baseline_result && !measurement.instances.empty()) {
      baseline_result =
          summarise(measurement, Side::kBaseline, "baseline", options.band_low, options.band_high);
    }
    return measurement;
  };
  for (std::size_t i = 0; i < systems.size(); ++i) {
    const harness::Measurement measurement = race(systems[i], i);
    SystemResult result = summarise(measurement, Side::kCandidate, systems[i].name,
                                    options.band_low, options.band_high);
    result.candidate = systems[i].candidate;
    progress(verdict_line(result));
    evaluation.systems.push_back(std::move(result));
  }
  if (!baseline_result) {
    const harness::Measurement measurement = race(baseline, systems.size());
    if (!baseline_result) {
      throw Error(
          ErrorCategory::kData,
          fmt::format("evaluate: the baseline could not be measured on {}: {} (stage {}): {}",
                      dataset.name, harness::to_string(measurement.outcome),
                      harness::to_string(measurement.stage), measurement.evidence));
    }
  }
  evaluation.systems.insert(evaluation.systems.begin(), std::move(*baseline_result));
  return evaluation;
}

}  // namespace crinn::eval
