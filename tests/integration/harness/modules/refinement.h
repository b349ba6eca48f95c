// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "crinn/ann/module.h"

namespace crinn::ann::plain {

/// Takes the search's order as it is.
struct Refinement {
  struct Scratch {};

  explicit Refinement(const RefinementInput&) {}

  Scratch make_scratch() const { return {}; }

  int refine(const float*, std::span<Candidate> candidates, bool, int k, Scratch&,
             int32_t* ids) const {
    const int count = std::min(k, static_cast<int>(candidates.size()));
    for (int i = 0; i < count; ++i) ids[i] = candidates[static_cast<std::size_t>(i)].id;
    return count;
  }
};

}  // namespace crinn::ann::plain
