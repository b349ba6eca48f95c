// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crinn/train/archive.h"
#include "crinn/train/codec.h"
#include "crinn/train/config.h"
#include "crinn/train/evaluator.h"
#include "crinn/train/operators.h"
#include "crinn/train/proposer.h"
#include "crinn/train/run_log.h"
#include "crinn/train/run_state.h"
#include "crinn/train/schedule.h"

namespace crinn::train {

/// A data set that must not get slower; made when it is first needed.
struct Guard {
  std::string name;
  std::function<Evaluator&()> evaluator;
};

/// What a trainer works with; everything is borrowed.
struct TrainerParts {
  const Codec& codec;
  const Operators& operators;
  Proposer& proposer;
  Evaluator& evaluator;
  Archive& archive;
  RunLog& log;
  harness::Triple baseline;  ///< frozen: every candidate is raced against it
  std::function<void(const RunState&)> on_step = nullptr;  ///< after every step's checkpoint
  /// More data sets, on which no winner of a phase may lose more than confirm.regression_limit, nor
  /// a candidate that beats all before it, which else counts as what it is there.
  std::vector<Guard> guards = {};
  /// Completions of an earlier run, with their roles: seeds of their phases before all others.
  std::vector<std::pair<harness::Role, std::string>> earlier = {};
};

/// The loop: module after module on top of the best triple so far; exemplars -> proposals ->
/// measurements -> advantages -> update; everything archived and checkpointed on the way. A step is
/// deterministic given the measurements; what a stopped step had measured is found again.
class Trainer {
 public:
  Trainer(const Config& config, TrainerParts parts, const Checkpoints& checkpoints, RunState state);

  /// Runs to the end of the schedule or of the wall budget (less the confirmation's reserve).
  /// Throws Stopped when a signal came; the last complete step is checkpointed then.
  void run();

  const RunState& state() const { return state_; }
  /// The best triple, from the archive.
  harness::Triple best_triple() const;
  /// Wall seconds of the run so far, all sessions.
  double elapsed() const;

 private:
  struct Measured {
    harness::Measurement measurement;
    std::string key;
    uint64_t seed = 0;
    bool cached = false;
  };

  void seed_phase();
  void grpo_step();
  void select_winner();
  void end_step();
  bool phase_time_left() const;

  Measured measure(Evaluator& evaluator, const harness::Triple& triple, std::string_view purpose,
                   double give_up_below = 0);
  /// A guard's data set that a triple is too slow on, or fails on.
  struct Regression {
    harness::Measurement measurement;
    std::string what;  ///< for people: how, and where
  };
  std::optional<Regression> regression(const harness::Triple& triple);
  /// Measures and archives a decoded completion of the current phase.
  CandidateRow evaluate(const Decoded& decoded, Origin origin, std::vector<int64_t> parents);
  CandidateRow finish_row(CandidateRow row, const Measured& measured);
  void archive_row(CandidateRow& row, double seconds);
  std::vector<CandidateRow> exemplar_rows() const;
  /// The most promising of the drafts: unseen programs first.
  std::vector<Proposal> thin_out(std::vector<Proposal> proposals, std::size_t wanted) const;
  void log_step(std::span<const CandidateRow> rows, Metrics extra, double seconds, bool grpo);

  const Phase& phase() const { return phases_.at(static_cast<std::size_t>(state_.phase)); }
  uint64_t stream(uint64_t purpose) const;

  Config config_;
  TrainerParts parts_;
  const Checkpoints& checkpoints_;
  RunState state_;
  std::vector<Phase> phases_;
  std::chrono::steady_clock::time_point session_start_;
  double elapsed_before_ = 0;
  int slot_ = 0;  ///< of the next row in the current step
  double last_step_seconds_ = 0;
  bool noisy_ = false;  ///< the last measurement was unusable, twice
};

/// Whether the rewards of a group (raised to the floor) are told apart by no more than measurement
/// noise: their standard deviation is below `tolerance` standard errors of a valid member (root
/// mean square over the group), or below 1e-6.
bool is_zero_variance(std::span<const CandidateRow> group, double reward_floor, double tolerance);

}  // namespace crinn::train
