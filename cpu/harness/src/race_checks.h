// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "slices.h"

namespace crinn::harness {

/// What an instance of a race noted about one side, besides its curve.
struct SideRecord {
  std::vector<PointState> points;
  std::vector<double> repeat_ratios;  ///< CPU time of a new batch / of the same batch again
  /// Queries that this process saw once, at the end of the race.
  struct Unseen {
    std::vector<double> slow_downs;  ///< by point: their CPU time / that of as many timed ones
    std::vector<double> losses;      ///< by query: recall of the timed ones less its own
  } unseen;
};

// Why the candidate's figures cannot be believed; nothing where they can. Warm caches help
// everybody: the baseline's record says how much.

/// A new batch ran much faster the second time: answers are kept from one query to the next.
std::optional<Failure> check_repeats(const SideRecord& baseline, const SideRecord& candidate);

/// Queries that were never seen before are much slower, or their answers worse, than the timed
/// ones: answers are kept for longer than a batch.
std::optional<Failure> check_unseen(const SideRecord& baseline, const SideRecord& candidate);

/// CPU time that the timed slices do not show: in the batches between them, or in the slices that
/// the robust mean leaves out.
std::optional<Failure> check_hidden_work(const SideRecord& baseline, const SideRecord& candidate);

}  // namespace crinn::harness
