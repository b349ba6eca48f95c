// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "crinn/base/progress.h"
#include "crinn/base/rng.h"
#include "crinn/eval/reward.h"
#include "crinn/harness/curve.h"
#include "crinn/train/source_key.h"
#include "crinn/train/stop.h"

namespace crinn::train {

namespace {

/// The standard error of the log ratio behind a 95 % interval over `instances`: Student's t
/// quantile of so few turned back.
double log_error(const eval::Interval& ratio, std::size_t instances) {
  constexpr double kQuantile[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447};
  if (instances < 2 || !ratio.bounded() || ratio.low <= 0) return std::nan("");
  const double t = instances <= 7 ? kQuantile[instances - 2] : 1.96;
  return std::log(ratio.high / ratio.low) / (2 * t);
}

}  // namespace

Trainer::Trainer(const Config& config, TrainerParts parts, const Checkpoints& checkpoints,
                 RunState state)
    : config_(config),
      parts_(std::move(parts)),
      checkpoints_(checkpoints),
      state_(state),
      phases_(phases_of(config.schedule)),
      session_start_(std::chrono::steady_clock::now()),
      elapsed_before_(state.elapsed) {}

double Trainer::elapsed() const {
  const auto session = std::chrono::steady_clock::now() - session_start_;
  return elapsed_before_ + std::chrono::duration<double>(session).count();
}

/// Randomness of one purpose in the current step.
uint64_t Trainer::stream(uint64_t purpose) const {
  return mix_seed(mix_seed(config_.seed, static_cast<uint64_t>(state_.step)), purpose);
}

bool Trainer::phase_time_left() const {
  if (config_.schedule.wall_seconds <= 0) return true;
  const double used = elapsed() - state_.phase_started;
  return used + 0.5 * last_step_seconds_ < state_.phase_seconds;
}

harness::Triple Trainer::best_triple() const {
  harness::Triple triple = parts_.baseline;
  for (const harness::Role role :
       {harness::Role::kConstruction, harness::Role::kSearch, harness::Role::kRefinement}) {
    const int64_t id = state_.best[static_cast<std::size_t>(role)];
    if (id == 0) continue;
    const CandidateRow row = parts_.archive.candidate(id).value();
    triple.at(role) = {role, fmt::format("archive-{}", id), row.source};
  }
  return triple;
}

void Trainer::run() {
  while (state_.phase < static_cast<int>(phases_.size())) {
    if (!state_.seeded) {
      const double reserve =
          std::min(config_.confirm.reserve_seconds, 0.5 * config_.schedule.wall_seconds);
      state_.phase_started = elapsed();
      state_.phase_seconds =
          phase_seconds(config_.schedule, phases_, static_cast<std::size_t>(state_.phase),
                        config_.schedule.wall_seconds - reserve - elapsed());
      seed_phase();
      state_.seeded = true;
      end_step();
    }
    while (state_.phase_step < phase().steps && phase_time_left()) {
      grpo_step();
      ++state_.phase_step;
      end_step();
    }
    select_winner();
    ++state_.phase;
    state_.seeded = false;
    state_.phase_step = 0;
    end_step();
  }
}

void Trainer::end_step() {
  ++state_.step;
  slot_ = 0;
  state_.elapsed = elapsed();
  state_.policy_step = parts_.proposer.policy_step();
  const bool boundary = state_.phase_step == 0;
  if (boundary || state_.step % config_.checkpoint.every == 0) {
    checkpoints_.save(state_, [&](const std::filesystem::path& folder) {
      parts_.proposer.save(folder / "policy");
    });
  }
  if (parts_.on_step) parts_.on_step(state_);
  if (const int signal = stop_signal()) throw Stopped{signal};
}

Trainer::Measured Trainer::measure(Evaluator& evaluator, const harness::Triple& triple,
                                   std::string_view purpose, double give_up_below) {
  Measured result;
  result.key = measurement_key(triple, parts_.baseline, phase().role, evaluator.context(), purpose);
  result.seed = mix_seed(config_.seed, std::stoull(result.key.substr(0, 15), nullptr, 16));
  // A race that was cut short counts as long as it would be cut again.
  const auto whole = [&](const harness::Measurement& m) {
    return !m.valid() || static_cast<int>(m.instances.size()) >= config_.judge.instances ||
           harness::area_ratio(m.instances.front(), config_.judge.band_low,
                               config_.judge.band_high) < give_up_below;
  };
  auto known = parts_.archive.find(result.key);
  if (known && whole(*known)) {
    result.measurement = *std::move(known);
    result.cached = true;
    return result;
  }
  // A disturbance that passes is waited out; on a machine that is always this noisy every race
  // would only take twice as long.
  const int attempts = noisy_ ? 1 : 2;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (const int signal = stop_signal()) throw Stopped{signal};
    result.measurement =
        evaluator.measure(triple, parts_.baseline,
                          mix_seed(result.seed, static_cast<uint64_t>(attempt)), give_up_below);
    // A signal to the whole process group ends the judge's children, too: such a failure says
    // nothing about the candidate.
    if (const int signal = stop_signal(); signal && !result.measurement.valid()) {
      throw Stopped{signal};
    }
    noisy_ = result.measurement.noise == harness::NoiseGrade::kUnusable;
    if (!noisy_) break;
  }
  parts_.archive.store(result.key, result.measurement, known.has_value());
  return result;
}

CandidateRow Trainer::finish_row(CandidateRow row, const Measured& measured) {
  const harness::Measurement& m = measured.measurement;
  const eval::Assessment assessment =
      eval::assess(m, config_.judge.band_low, config_.judge.band_high);
  row.measurement_key = measured.key;
  row.outcome = m.outcome;
  row.stage = m.stage;
  row.evidence = m.evidence;
  row.reward = assessment.reward;
  row.ratio = assessment.auc_ratio.estimate;
  row.ratio_low = assessment.auc_ratio.low;
  row.ratio_high = assessment.auc_ratio.high;
  row.ratio_error = log_error(assessment.auc_ratio, m.instances.size());
  row.seed = measured.seed;
  row.cached = measured.cached;
  row.judge_seconds = m.judge_seconds;
  row.machine = m.machine;
  return row;
}

void Trainer::archive_row(CandidateRow& row, double seconds) {
  row.step = state_.step + 1;
  row.slot = slot_++;
  row.phase = state_.phase;
  row.round = phase().round;
  row.role = phase().role;
  row.policy_step = parts_.proposer.policy_step();
  parts_.archive.add(row);
  if (row.outcome == harness::Outcome::kValid) {
    state_.best_seen = std::max(state_.best_seen, row.ratio);
  }
  parts_.log.candidate(row, seconds);
}

CandidateRow Trainer::evaluate(const Decoded& decoded, Origin origin,
                               std::vector<int64_t> parents) {
  const auto begin = std::chrono::steady_clock::now();
  CandidateRow row;
  row.origin = origin;
  row.parents = std::move(parents);
  if (!decoded.ok) {
    row.evidence = decoded.error;
    harness::Measurement nothing;
    nothing.evidence = decoded.error;
    row.reward = eval::assess(nothing).reward;
  } else {
    row.source = decoded.source.text;
    row.source_hash = source_hash(row.source);
    row.completion = decoded.completion;
    harness::Triple triple = best_triple();
    triple.at(phase().role) = decoded.source;
    const Measured measured =
        measure(parts_.evaluator, triple, "race", config_.grpo.full_race_share * state_.best_seen);
    row = finish_row(std::move(row), measured);
    // An implausible gain counts only when a fresh seed shows it again, and then the lesser one.
    if (row.outcome == harness::Outcome::kValid &&
        row.ratio > config_.confirm.quarantine_ratio * state_.best_seen) {
      const CandidateRow again = finish_row(row, measure(parts_.evaluator, triple, "quarantine"));
      if (again.reward < row.reward) row = again;
    }
    // What only this data set is good to must not lead a whole phase astray.
    if (row.outcome == harness::Outcome::kValid && row.ratio > state_.best_seen) {
      if (const auto slower = regression(triple)) {
        row = finish_row(std::move(row), {slower->measurement, measured.key, measured.seed, false});
        row.evidence = slower->what;
      }
    }
  }
  archive_row(row, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  return row;
}

std::vector<CandidateRow> Trainer::exemplar_rows() const {
  std::vector<CandidateRow> rows = parts_.archive.candidates(state_.phase);
  std::erase_if(rows, [&](const CandidateRow& row) { return row.step > state_.step; });
  return rows;
}

}  // namespace crinn::train
