// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "crinn/harness/judge.h"
#include "crinn/train/grammar_codec.h"

namespace crinn::bench {

/// A triple that is written as derivations of the grammars.
struct Entry {
  std::string name;
  int degree = 32;  ///< the budget that its construction gets
  harness::Triple triple;
};

/// Blocks of lines "name NAME" and, each optional, "degree N", "construction CHOICES", "search
/// CHOICES", "refinement CHOICES"; what a block leaves out is the baseline's. A line that begins
/// with spaces goes on with the one before it; # begins a comment. Throws Error (data) with the
/// line's number.
std::vector<Entry> read_derivations(const std::string& file, const train::GrammarCodec& codec);

}  // namespace crinn::bench
