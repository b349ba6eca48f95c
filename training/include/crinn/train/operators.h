// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "crinn/base/rng.h"
#include "crinn/harness/measurement.h"

namespace crinn::train {

class GrammarCodec;

/// What writes completions without a policy: seeds of the archive, targets of the warm start, and
/// the baselines of learning.
struct Operators {
  std::function<std::string(harness::Role, Rng&)> random;
  std::function<std::string(harness::Role, const std::string&, Rng&)> edit;
  std::function<std::string(harness::Role, const std::string&, const std::string&, Rng&)> crossover;
  /// Completions that people wrote down, the one nearest the baseline first; may be none.
  std::function<std::vector<std::string>(harness::Role)> examples;
};

/// The grammar codec's own. The codec must outlive them.
Operators grammar_operators(const GrammarCodec& codec);

}  // namespace crinn::train
