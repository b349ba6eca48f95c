// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "crinn/base/rng.h"
#include "crinn/train/archive.h"

namespace crinn::train {

struct ExemplarOptions {
  int count = 2;     ///< implementations a prompt shows
  int buckets = 8;   ///< equal-width score buckets from the worst valid reward, or 5 tau below the
                     ///< best, to the best
  double tau = 0.2;  ///< temperature, in units of the reward (log area ratio)
  /// The share of prompts that are about one niche: programs alike in their first `niche_choices`
  /// choices (a search's plan and layout). What is best early on has many descendants soon, and
  /// crowds out every other kind of program before anybody knows how good it can become.
  double niche_share = 0;
  int niche_choices = 2;
};

/// The first `count` choices of a derivation.
std::string_view first_choices(std::string_view completion, int count);

/// Chooses exemplars among valid rows that have a completion: bucket by bucket with
/// P(bucket) proportional to exp((bucket mean - global mean) / tau), without replacement of
/// buckets, then a row uniformly. Where fewer buckets are filled than asked for, the best rows not
/// yet chosen fill up. A prompt about a niche draws one of those whose best is within 3 tau of the
/// best of all, each as likely, and chooses among its rows; where it has too few, rows of others
/// that are worse than its best fill up, drawn uniformly. Returns rows' indices, worst reward
/// first; fewer than `count` (even none) where there are fewer distinct completions.
std::vector<std::size_t> choose_exemplars(std::span<const CandidateRow> rows,
                                          const ExemplarOptions& options, Rng& rng);

}  // namespace crinn::train
