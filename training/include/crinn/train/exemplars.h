// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "crinn/base/rng.h"
#include "crinn/train/archive.h"

namespace crinn::train {

struct ExemplarOptions {
  int count = 2;     ///< implementations a prompt shows
  int buckets = 8;   ///< equal-width score buckets from the worst valid reward, or 5 tau below the
                     ///< best, to the best
  double tau = 0.2;  ///< temperature, in units of the reward (log area ratio)
};

/// Chooses exemplars among valid rows that have a completion: bucket by bucket with
/// P(bucket) proportional to exp((bucket mean - global mean) / tau), without replacement of
/// buckets, then a row uniformly. Where fewer buckets are filled than asked for, the best rows not
/// yet chosen fill up. Returns rows' indices, worst reward first; fewer than `count` (even none)
/// where there are fewer distinct completions.
std::vector<std::size_t> choose_exemplars(std::span<const CandidateRow> rows,
                                          const ExemplarOptions& options, Rng& rng);

}  // namespace crinn::train
