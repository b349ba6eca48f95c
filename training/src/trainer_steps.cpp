// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "crinn/base/progress.h"
#include "crinn/base/rng.h"
#include "crinn/eval/reward.h"
#include "crinn/train/exemplars.h"
#include "crinn/train/source_key.h"
#include "crinn/train/trainer.h"

namespace crinn::train {

namespace {

/// Of a phase's wall budget, at most this share goes to its seeds.
constexpr double kSeedShare = 0.4;

/// Random seeds are spread over what a grammar decides first (a module's plan and layout): of this
/// many draws, the one whose first choices are rarest among the seeds so far is raced.
constexpr int kDrawsPerSeed = 8;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double deviation_of(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

}  // namespace

bool is_zero_variance(std::span<const CandidateRow> group, double reward_floor, double tolerance) {
  std::vector<double> rewards;
  double error = 0;
  int known = 0;
  for (const CandidateRow& row : group) {
    rewards.push_back(std::max(row.reward, reward_floor));
    if (row.outcome == harness::Outcome::kValid && std::isfinite(row.ratio_error)) {
      error += row.ratio_error * row.ratio_error;
      ++known;
    }
  }
  if (known > 0) error = std::sqrt(error / known);
  return deviation_of(rewards) < std::max(tolerance * error, 1e-6);
}

/// Seeds: the incumbent (its ratio is known), an earlier run's modules, examples, the best programs
/// of the role's earlier phases, random derivations, and edits of the best so far.
void Trainer::seed_phase() {
  const auto begin = std::chrono::steady_clock::now();
  const harness::Role role = phase().role;
  parts_.log.say(fmt::format(
      "phase {} of {}: {} (round {}), on top of {}", state_.phase + 1, phases_.size(),
      harness::to_string(role), phase().round + 1,
      format_ratio(state_.best_ratio.estimate, state_.best_ratio.low, state_.best_ratio.high)));
  Rng rng(stream(1));
  std::vector<CandidateRow> rows;
  const auto seed = [&](const std::string& completion, Origin origin,
                        std::vector<int64_t> parents) {
    // Where time is short, a phase starts from what it has: most of it is for what can learn.
    const bool limited = config_.schedule.wall_seconds > 0;
    if (!rows.empty() && limited &&
        elapsed() - state_.phase_started > kSeedShare * state_.phase_seconds) {
      return;
    }
    const Decoded decoded = parts_.codec.decode(role, parts_.codec.encode(role, completion));
    rows.push_back(evaluate(decoded, origin, std::move(parents)));
  };

  CandidateRow incumbent;
  incumbent.origin = Origin::kBaseline;
  incumbent.source = best_triple().at(role).text;
  incumbent.source_hash = source_hash(incumbent.source);
  if (const int64_t id = state_.best[static_cast<std::size_t>(role)]) {
    incumbent.origin = Origin::kCarried;
    incumbent.completion = parts_.archive.candidate(id).value().completion;
    incumbent.parents = {id};
  }
  incumbent.outcome = harness::Outcome::kValid;
  incumbent.stage = harness::Stage::kDone;
  incumbent.ratio = state_.best_ratio.estimate;
  incumbent.ratio_low = state_.best_ratio.low;
  incumbent.ratio_high = state_.best_ratio.high;
  incumbent.reward = std::log(state_.best_ratio.estimate);
  incumbent.cached = true;
  archive_row(incumbent, 0);
  rows.push_back(incumbent);

  for (const auto& [of_role, completion] : parts_.earlier) {
    if (of_role == role) seed(completion, Origin::kCarried, {});
  }
  const std::vector<std::string> examples = parts_.operators.examples(role);
  for (std::size_t i = 0;
       i < std::min(examples.size(), static_cast<std::size_t>(config_.seeds.examples)); ++i) {
    seed(examples[i], Origin::kExample, {});
  }
  std::vector<CandidateRow> earlier = parts_.archive.candidates();
  std::erase_if(earlier, [&](const CandidateRow& row) {
    return row.phase >= state_.phase || row.role != role || row.completion.empty() ||
           row.outcome != harness::Outcome::kValid || row.completion == incumbent.completion;
  });
  std::stable_sort(earlier.begin(), earlier.end(),
                   [](const auto& a, const auto& b) { return a.reward > b.reward; });
  std::set<std::string> carried;
  for (const CandidateRow& row : earlier) {
    if (static_cast<int>(carried.size()) == config_.seeds.carried) break;
    if (carried.insert(row.completion).second) seed(row.completion, Origin::kCarried, {row.id});
  }
  for (int i = 0; i < config_.seeds.random; ++i) {
    const auto alike = [&](const std::string& completion) {
      const auto shared = [&](int choices) {
        return std::count_if(rows.begin(), rows.end(), [&](const CandidateRow& row) {
          return first_choices(row.completion, choices) == first_choices(completion, choices);
        });
      };
      return std::pair(shared(2), shared(3));
    };
    std::string rarest = parts_.operators.random(role, rng);
    for (int draw = 1; draw < kDrawsPerSeed; ++draw) {
      std::string other = parts_.operators.random(role, rng);
      if (alike(other) < alike(rarest)) rarest = std::move(other);
    }
    seed(rarest, Origin::kRandom, {});
  }
  for (int i = 0; i < config_.seeds.edits; ++i) {
    const CandidateRow* best = nullptr;
    for (const CandidateRow& row : rows) {
      if (!row.completion.empty() && (!best || row.reward > best->reward)) best = &row;
    }
    if (!best) break;
    const int64_t parent = best->id;
    seed(parts_.operators.edit(role, best->completion, rng), Origin::kEdit, {parent});
  }
  const double seconds = seconds_since(begin);
  log_step(rows, {{"timing_s/judge", seconds}}, seconds, false);
}

std::vector<Proposal> Trainer::thin_out(std::vector<Proposal> proposals, std::size_t wanted) const {
  std::set<std::string> seen;
  for (const CandidateRow& row : exemplar_rows()) seen.insert(row.source_hash);
  std::vector<Proposal> fresh, others;
  for (Proposal& proposal : proposals) {
    const bool is_new =
        proposal.decoded.ok && seen.insert(source_hash(proposal.decoded.source.text)).second;
    (is_new ? fresh : others).push_back(std::move(proposal));
  }
  for (Proposal& proposal : others) fresh.push_back(std::move(proposal));
  fresh.resize(std::min(fresh.size(), wanted));
  return fresh;
}

void Trainer::grpo_step() {
  const auto begin = std::chrono::steady_clock::now();
  const harness::Role role = phase().role;
  const std::vector<CandidateRow> known = exemplar_rows();
  std::vector<CandidateRow> rows;
  std::vector<Trajectory> batch;
  double sample_seconds = 0, judge_seconds = 0, entropy_length = 0;
  int zero_groups = 0;
  std::vector<double> group_deviation;

  for (int g = 0; g < config_.grpo.groups; ++g) {
    const uint64_t seed = stream(100 + static_cast<uint64_t>(g));
    Rng rng(seed);
    std::vector<Exemplar> exemplars;
    std::vector<int64_t> parents;
    for (const std::size_t i : choose_exemplars(known, config_.exemplars, rng)) {
      exemplars.push_back({known[i].completion, known[i].reward});
      parents.push_back(known[i].id);
    }
    const auto sampling = std::chrono::steady_clock::now();
    const std::vector<Proposal> proposals = thin_out(
        parts_.proposer.propose(role, exemplars, config_.grpo.group_size * config_.grpo.oversample,
                                mix_seed(seed, 1)),
        static_cast<std::size_t>(config_.grpo.group_size));
    sample_seconds += seconds_since(sampling);

    const auto judging = std::chrono::steady_clock::now();
    std::vector<CandidateRow> group;
    std::vector<double> rewards;
    for (const Proposal& proposal : proposals) {
      if (group.size() > 1 && !phase_time_left()) break;
      group.push_back(evaluate(proposal.decoded, parts_.proposer.origin(), parents));
      rewards.push_back(std::max(group.back().reward, config_.grpo.reward_floor));
      entropy_length += static_cast<double>(proposal.completion.tokens.size());
      state_.num_tokens +=
          static_cast<int64_t>(proposal.prompt.size() + proposal.completion.tokens.size());
    }
    judge_seconds += seconds_since(judging);

    const bool zero =
        is_zero_variance(group, config_.grpo.reward_floor, config_.grpo.noise_tolerance);
    zero_groups += zero;
    group_deviation.push_back(deviation_of(rewards));
    if (!zero) {
      const std::vector<double> advantages = group_advantages(rewards, config_.grpo.advantage);
      for (std::size_t i = 0; i < group.size(); ++i) {
        batch.push_back({role, proposals[i].prompt, proposals[i].completion, rewards[i],
                         advantages[i], parts_.proposer.policy_step()});
      }
    }
    rows.insert(rows.end(), group.begin(), group.end());
  }

  const auto updating = std::chrono::steady_clock::now();
  UpdateMetrics update;
  if (!batch.empty()) update = parts_.proposer.learn(batch);
  Metrics extra = {{"reward_std", mean_of(group_deviation)},
                   {"frac_reward_zero_std", zero_groups / static_cast<double>(config_.grpo.groups)},
                   {"loss", update.loss},
                   {"kl", update.kl},
                   {"entropy", update.entropy},
                   {"grad_norm", update.grad_norm},
                   {"clip_ratio/low_mean", update.clip_ratio_low_mean},
                   {"clip_ratio/high_mean", update.clip_ratio_high_mean},
                   {"clip_ratio/region_mean", update.clip_ratio_region_mean},
                   {"completions/mean_length", entropy_length / static_cast<double>(rows.size())},
                   {"num_tokens", static_cast<double>(state_.num_tokens)},
                   {"timing_s/sample", sample_seconds},
                   {"timing_s/judge", judge_seconds},
                   {"timing_s/update", seconds_since(updating)}};
  last_step_seconds_ = seconds_since(begin);
  log_step(rows, std::move(extra), last_step_seconds_, true);
}

void Trainer::log_step(std::span<const CandidateRow> rows, Metrics extra, double seconds,
                       bool grpo) {
  std::vector<double> rewards;
  double valid = 0, cached = 0;
  for (const CandidateRow& row : rows) {
    rewards.push_back(row.reward);
    valid += row.outcome == harness::Outcome::kValid;
    cached += row.cached;
  }
  const auto count = static_cast<double>(rows.size());
  Metrics values = {{"reward", mean_of(rewards)},
                    {"reward_max", *std::max_element(rewards.begin(), rewards.end())},
                    {"valid_fraction", valid / count},
                    {"cached_fraction", cached / count},
                    {"best_auc_ratio", state_.best_seen},
                    {"step_time", seconds},
                    {"candidates", count},
                    {"phase", static_cast<double>(state_.phase)},
                    {"policy_step", static_cast<double>(parts_.proposer.policy_step())}};
  values.insert(values.end(), extra.begin(), extra.end());
  parts_.log.metrics(state_.step + 1, values);

  std::string left;
  if (config_.schedule.wall_seconds > 0) {
    left = format_duration(std::max(config_.schedule.wall_seconds - elapsed(), 0.0));
  } else {
    double steps = phase().steps - state_.phase_step - (grpo ? 1 : 0);
    for (std::size_t p = static_cast<std::size_t>(state_.phase) + 1; p < phases_.size(); ++p) {
      steps += phases_[p].steps;
    }
    const double per_step =
        grpo ? seconds : seconds / count * config_.grpo.group_size * config_.grpo.groups;
    left = format_duration(steps * per_step);
  }
  parts_.log.say(fmt::format(
      "step {:<4} {} {}  reward {:+.3f}  valid {:.0f} %  best {:.3f}x  {}  "
      "{} left",
      state_.step + 1, harness::to_string(phase().role),
      grpo ? fmt::format("{}/{}", state_.phase_step + 1, phase().steps) : "seeds", mean_of(rewards),
      100 * valid / count, state_.best_seen, format_duration(seconds), left));
}

std::optional<Trainer::Regression> Trainer::regression(const harness::Triple& triple) {
  for (const Guard& guard : parts_.guards) {
    harness::Measurement m = measure(guard.evaluator(), triple, "guard").measurement;
    if (!m.valid()) {
      std::string what = fmt::format("{} on {}: {}", harness::to_string(m.outcome), guard.name,
                                     m.evidence.substr(0, m.evidence.find('\n')));
      return Regression{std::move(m), std::move(what)};
    }
    const eval::Interval ratio =
        eval::assess(m, config_.judge.band_low, config_.judge.band_high).auc_ratio;
    if (!(ratio.estimate >= 1 - config_.confirm.regression_limit)) {
      return Regression{
          std::move(m),
          fmt::format("{} on {}", format_ratio(ratio.estimate, ratio.low, ratio.high), guard.name)};
    }
  }
  return std::nullopt;
}

/// The best candidates of the phase are measured again with a fresh seed; the best of these becomes
/// part of the best triple when it beats what is there by more than noise and gets slower on no
/// guard's data set. Only fresh measurements are compared: the maximum of many noisy ones is biased
/// upwards.
void Trainer::select_winner() {
  const harness::Role role = phase().role;
  std::vector<CandidateRow> rows = exemplar_rows();
  std::erase_if(rows, [&](const CandidateRow& row) {
    return row.outcome != harness::Outcome::kValid || row.origin == Origin::kBaseline ||
           row.reward <= std::log(state_.best_ratio.estimate);
  });
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.reward > b.reward; });
  std::set<std::string> tried = {source_hash(best_triple().at(role).text)};
  const harness::Triple before = best_triple();
  const auto selecting = std::chrono::steady_clock::now();
  for (const CandidateRow& row : rows) {
    if (static_cast<int>(tried.size()) > config_.confirm.verify_top) break;
    if (!tried.insert(row.source_hash).second) continue;
    const auto begin = std::chrono::steady_clock::now();
    harness::Triple triple = before;
    triple.at(role) = {role, fmt::format("archive-{}", row.id), row.source};
    CandidateRow again;
    again.origin = Origin::kVerify;
    again.source = row.source;
    again.source_hash = row.source_hash;
    again.completion = row.completion;
    again.parents = {row.id};
    again = finish_row(std::move(again), measure(parts_.evaluator, triple, "verify"));
    archive_row(again, seconds_since(begin));
    const double gain = std::log(again.ratio / state_.best_ratio.estimate);
    const double error = std::isfinite(again.ratio_error) ? again.ratio_error : 0;
    if (again.outcome != harness::Outcome::kValid ||
        !(gain > config_.grpo.noise_tolerance * error)) {
      continue;
    }
    if (const auto slower = regression(triple)) {
      parts_.log.say(
          fmt::format("{}: #{} is not taken: {}", harness::to_string(role), row.id, slower->what));
      continue;
    }
    state_.best[static_cast<std::size_t>(role)] = row.id;
    state_.best_ratio = {again.ratio, again.ratio_low, again.ratio_high};
  }
  parts_.log.metrics(state_.step + 1, {{"verified_auc_ratio", state_.best_ratio.estimate},
                                       {"timing_s/verify", seconds_since(selecting)}});
  const int64_t id = state_.best[static_cast<std::size_t>(role)];
  parts_.log.say(id == 0
                     ? fmt::format("{}: the baseline's stays", harness::to_string(role))
                     : fmt::format("{}: #{} is the best, the triple stands at {}",
                                   harness::to_string(role), id,
                                   format_ratio(state_.best_ratio.estimate, state_.best_ratio.low,
                                                state_.best_ratio.high)));
}

}  // namespace crinn::train
