// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "crinn/train/champion.h"
#include "crinn/train/run_state.h"

namespace crinn::train {

struct ReportInput {
  const Config& config;
  const Archive& archive;
  const RunState& state;
  const harness::Triple& baseline;
  const Confirmation* confirmation = nullptr;  ///< nullptr while the run goes on
  std::string layers;                          ///< isolation layers of the judge
};

/// One self-contained HTML page: rewards and the best so far over the steps, the lineage of the
/// best triple with diffs and ratios, candidates by outcome, where the time went.
std::string run_report(const std::filesystem::path& folder, const ReportInput& input);

}  // namespace crinn::train
