// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "crinn/eval/dataset.h"
#include "crinn/eval/evaluation.h"
#include "crinn/harness/measurement.h"

namespace crinn::eval {

/// An index to measure: its three modules, as source.
struct System {
  std::string name;
  harness::Triple triple;
  bool candidate = false;  ///< a person's module
};

struct EvaluateOptions {
  std::filesystem::path work_folder;  ///< caches of compiled modules and graphs
  int k = 10;
  int core = -1;             ///< the core that races; -1: the last one
  int instances = 5;         ///< fresh process pairs a race: what intervals are taken over
  double race_seconds = 20;  ///< CPU time of a race
  int degree = 32;
  int ef_construction = 200;
  double band_low = 0.85, band_high = 0.95;
  int threads = 1;  ///< for building the graph
  uint64_t seed = 0;
  bool keep_answers = false;  ///< fill SystemResult::answers
};

/// The baseline triple of the tree, or the champion. Throws Error (usage) that lists the names.
System load_system(std::string_view name);

/// The baseline with some modules replaced by files: "search=FILE" each. At least one. Throws Error
/// (usage) on a role that does not exist or is named twice, Error (data) on a missing file.
System load_candidate(const std::vector<std::string>& replacements);

/// Races each system against the baseline on dataset.truth's k. The result holds the baseline
/// first, its curve taken from the first race that was run (with no other system, from a race
/// against itself), then `systems` in order. A system's failure is a verdict, not an Error.
/// `progress` is told what begins.
Evaluation evaluate(const Dataset& dataset, const std::vector<System>& systems,
                    const EvaluateOptions& options,
                    const std::function<void(const std::string&)>& progress);

}  // namespace crinn::eval
