// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crinn/eval/reward.h"
#include "crinn/train/archive.h"
#include "crinn/train/config.h"
#include "crinn/train/evaluator.h"

namespace crinn::train {

/// A data set on which the best triple has to prove itself. `make` is called when it is its turn,
/// so that one data set at a time is in memory.
struct ConfirmTarget {
  std::string name;
  bool primary = true;  ///< the run's own data set with held-out queries: must get faster
  std::function<std::unique_ptr<Evaluator>()> make;
};

struct ConfirmedDataset {
  std::string name;
  bool primary = true;
  bool passed = false;
  harness::Measurement measurement;
  eval::Assessment assessment;
};

/// The end of a run: what stands after queries that nothing was chosen by, with fresh seeds.
struct Confirmation {
  bool confirmed = false;
  std::string verdict;  ///< "confirmed: 1.31x [1.27, 1.35] ...", "no gain found: ...", or
                        ///< "not confirmed: ..." where the machine was too noisy twice
  std::vector<ConfirmedDataset> datasets;
};

/// Measures `champion` against `baseline` on every target, the primary one first; stops at the
/// first failure. Confirmed: the interval of the primary target lies above 1, and no other one's
/// estimate falls below 1 - regression_limit.
Confirmation confirm(const harness::Triple& champion, const harness::Triple& baseline,
                     const std::vector<ConfirmTarget>& targets, const Config& config,
                     Archive& archive);

struct Provenance {
  std::string run;
  uint64_t seed = 0;
  std::array<int64_t, 3> archive_ids = {0, 0, 0};  ///< by role; 0: the baseline's module
};

/// Writes folder/{construction,search,refinement}.h (in namespace crinn::ann::champion, each with a
/// comment that says where it comes from), champion.diff to the baseline, champion.json, table.txt.
void write_champion(const std::filesystem::path& folder, const harness::Triple& champion,
                    const harness::Triple& baseline, const Provenance& provenance,
                    const Confirmation& confirmation);

/// The confirmation as a table for the terminal.
std::string confirmation_table(const Confirmation& confirmation);

}  // namespace crinn::train
