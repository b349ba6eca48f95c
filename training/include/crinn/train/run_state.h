// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "crinn/eval/reward.h"

namespace crinn::train {

/// Where a run stands between two steps. With the archive's rows up to `step` and the proposer's
/// state it decides everything that follows: randomness is derived from the run's seed and `step`.
struct RunState {
  int64_t step = 0;  ///< steps done; seeding a phase, a GRPO step and selecting a winner are steps
  int phase = 0;
  bool seeded = false;                          ///< the phase's first measurements are made
  int phase_step = 0;                           ///< GRPO steps done in the phase
  double phase_started = 0, phase_seconds = 0;  ///< in `elapsed`'s time; its budget
  double elapsed = 0;                           ///< wall seconds of all sessions
  std::array<int64_t, 3> best = {0, 0, 0};  ///< archive ids by role of the best triple; 0: baseline
  eval::Interval best_ratio = {1, 1, 1};    ///< of the best triple, measured afresh
  double best_seen = 1;                     ///< best ratio of any candidate so far
  int64_t policy_step = 0;
  int64_t num_tokens = 0;  ///< of prompts and completions so far
};

std::string to_json(const RunState& state);
/// Throws Error (data).
RunState run_state_from_json(std::string_view json);

/// Folders step-N below one folder, each complete or not there: written under another name, synced
/// and renamed; the file `latest` names the newest. Only the newest `keep` stay.
class Checkpoints {
 public:
  Checkpoints(std::filesystem::path folder, int keep) : folder_(std::move(folder)), keep_(keep) {}

  /// `save_rest` writes what is not in the state into the folder it is given.
  void save(const RunState& state,
            const std::function<void(const std::filesystem::path&)>& save_rest) const;
  /// The newest complete one.
  std::optional<std::filesystem::path> latest() const;
  static RunState load_state(const std::filesystem::path& checkpoint);

 private:
  std::filesystem::path folder_;
  int keep_;
};

}  // namespace crinn::train
