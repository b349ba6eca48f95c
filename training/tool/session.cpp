// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <map>
#include <memory>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"
#include "crinn/base/progress.h"
#include "crinn/eval/ground_truth.h"
#include "crinn/train/champion.h"
#include "crinn/train/grammar_codec.h"
#include "crinn/train/run_report.h"
#include "crinn/train/stop.h"
#include "crinn/train/trainer.h"
#include "crinn/train/warm_start.h"
#include "run_folder.h"

namespace crinn::train {

namespace {

/// A data set with the truth of its first `count` queries; it may have fewer.
eval::Dataset load_data(const Config& config, const std::string& name, int64_t count) {
  eval::Dataset dataset = eval::load_dataset(name, config.metric);
  eval::limit_queries(dataset, std::min(count, dataset.queries.rows()));
  eval::prepare_truth(dataset, eval::parse_truth_source(config.groundtruth).value(), config.k,
                      config.threads, config.cache_folder() / "truth");
  return dataset;
}

harness::JudgeOptions judge_options(const Config& config) {
  harness::JudgeOptions options = config.judge;
  options.work_folder = config.cache_folder() / "judge";
  return options;
}

harness::JudgeOptions confirm_options(const Config& config) {
  harness::JudgeOptions options = judge_options(config);
  options.instances = config.confirm.instances;
  options.race_seconds = config.confirm.race_seconds;
  if (config.confirm.fresh_permutation) options.seed = mix_seed(options.seed, config.seed + 1);
  return options;
}

/// The parts that every mode of the tool needs, in the order of their making.
class Session {
 public:
  Session(const Config& config, std::FILE* terminal) : config_(config), terminal_(terminal) {
    for (const std::string& file : config_.seeds.modules) {
      try {
        earlier_.push_back(codec_.completion_of(read_file(file)));
      } catch (const Error& error) {
        throw Error(error.category(),
                    fmt::format("crinn-train: seeds.modules: {}: {}", file, error.what()));
      }
    }
  }

  void open_data() {
    data_ = load_data(config_, config_.dataset, all_queries());
    if (data_.queries.rows() < all_queries()) {
      throw Error(
          ErrorCategory::kUsage,
          fmt::format("crinn-train: {} has {} queries, queries.train + queries.held_out ask "
                      "for {}",
                      config_.dataset, data_.queries.rows(), all_queries()));
    }
    say(fmt::format("{}: {} x {} {}, {} + {} queries", data_.name, data_.base.rows(),
                    data_.base.cols(), ann::to_string(data_.metric), config_.queries.train,
                    config_.queries.held_out));
    for (const std::string& name : config_.confirm.datasets) other(name);
    baseline_ = harness::load_triple("baseline");
    evaluator_ = std::make_unique<JudgeEvaluator>(data_, 0, config_.queries.train, config_.k,
                                                  judge_options(config_));
    layers_ = fmt::format("{}", fmt::join(evaluator_->layers(), ", "));
    say("isolation: " + layers_);
  }

  void make_proposer() {
    if (config_.proposer != ProposerKind::kPolicy) {
      proposer_ = std::make_unique<OperatorProposer>(config_.proposer, codec_, operators_);
      return;
    }
    auto proposer = std::make_unique<PolicyProposer>(
        make_policy(config_.policy, codec_, config_.seed), codec_, config_.grpo);
    say(fmt::format("policy: {:.2f} million parameters, {} tokens",
                    static_cast<double>(proposer->policy().parameters()) / 1e6,
                    codec_.vocabulary()));
    policy_ = proposer.get();
    proposer_ = std::move(proposer);
  }

  int dry_run();
  int run(RunFolder& folder);

  const GrammarCodec& codec() const { return codec_; }

 private:
  int64_t all_queries() const { return config_.queries.train + config_.queries.held_out; }
  void say(const std::string& line) const {
    if (terminal_) fmt::print(terminal_, "{}\n", line);
    if (terminal_) std::fflush(terminal_);
  }
  /// One a data set in confirm.datasets; each makes its judge when first asked.
  std::vector<Guard> make_guards();
  /// A baseline that does not work would make every candidate look guilty.
  void check_baseline();
  void warm_up();
  /// The weights that the KL term compares with: those of the warm start.
  void restore_reference(const std::filesystem::path& run);
  Confirmation finish(const Trainer& trainer, RunFolder& folder, Archive& archive);

  Config config_;
  std::FILE* terminal_;
  GrammarCodec codec_;
  Operators operators_ = grammar_operators(codec_);
  /// What seeds.modules name.
  std::vector<std::pair<harness::Role, std::string>> earlier_;
  eval::Dataset data_;
  harness::Triple baseline_;
  std::unique_ptr<JudgeEvaluator> evaluator_;
  std::string layers_;
  /// Data and judge of a data set that must not get slower.
  struct OtherData {
    eval::Dataset data;
    int64_t guarding = 0;  ///< its first queries; the rest is for the confirmation
    std::unique_ptr<JudgeEvaluator> guard;
  };
  OtherData& other(const std::string& name);
  std::map<std::string, OtherData> others_;
  std::unique_ptr<Proposer> proposer_;
  PolicyProposer* policy_ = nullptr;
};

void Session::check_baseline() {
  const harness::Measurement m = evaluator_->check(baseline_);
  if (stop_signal() == 0 && m.outcome != harness::Outcome::kValid) {
    throw Error(
        ErrorCategory::kData,
        fmt::format("crinn-train: the baseline itself is {} at {}: {}",
                    harness::to_string(m.outcome), harness::to_string(m.stage), m.evidence));
  }
}

void Session::warm_up() {
  if (!policy_ || config_.warm_start.steps == 0) return;
  std::filesystem::path kept;
  if (!config_.warm_start.cache.empty()) {
    // Everything that the warmed weights depend on.
    Config key;
    key.warm_start = config_.warm_start;
    key.policy = config_.policy;
    key.exemplars.count = config_.exemplars.count;
    key.schedule.roles = config_.schedule.roles;
    key.seed = config_.seed;
    kept = std::filesystem::path(config_.warm_start.cache) /
           ("warm-" + sha256_hex(to_yaml(key) + codec_.version() + policy_->policy().config_json())
                          .substr(0, 16));
    if (std::filesystem::exists(kept)) {
      policy_->load(kept, 0);
      say("warm start: weights from " + kept.string());
      return;
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  int last = 0;
  const double loss = warm_start(
      policy_->policy(), config_.schedule.roles, codec_, operators_, config_.warm_start,
      config_.exemplars.count, config_.grpo.max_grad_norm, config_.seed, [&](int step, double l) {
        last = step;
        if (step % 20 == 0 || step == 1) {
          say(fmt::format("warm start {:>4}: {:.3f} nats a token", step, l));
        }
        if (const int signal = stop_signal()) throw Stopped{signal};
        return true;
      });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  say(fmt::format("warm start: {} steps, {:.3f} nats a token, {}", last, loss,
                  format_duration(seconds)));
  if (!kept.empty()) {
    const std::filesystem::path temporary = kept.string() + ".tmp";
    std::filesystem::remove_all(temporary);
    std::filesystem::create_directories(temporary);
    policy_->save(temporary);
    std::filesystem::rename(temporary, kept);
  }
}

Session::OtherData& Session::other(const std::string& name) {
  const auto [place, fresh] = others_.try_emplace(name);
  OtherData& other = place->second;
  if (!fresh) return other;
  other.data = load_data(config_, name, all_queries());
  const int64_t rows = other.data.queries.rows();
  if (rows < 2) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("crinn-train: confirm.datasets: {} has {} queries", name, rows));
  }
  other.guarding = std::clamp<int64_t>(rows * config_.queries.train / all_queries(), 1, rows - 1);
  return other;
}

std::vector<Guard> Session::make_guards() {
  std::vector<Guard> guards;
  for (const std::string& name : config_.confirm.datasets) {
    guards.push_back({name, [this, name]() -> Evaluator& {
                        OtherData& data = other(name);
                        if (!data.guard) {
                          data.guard = std::make_unique<JudgeEvaluator>(
                              data.data, 0, data.guarding, config_.k, judge_options(config_));
                        }
                        return *data.guard;
                      }});
  }
  return guards;
}

void Session::restore_reference(const std::filesystem::path& run) {
  if (!policy_ || config_.grpo.beta == 0) return;
  if (!std::filesystem::exists(run / "reference")) {
    policy_->save(run / "reference.tmp");
    std::filesystem::rename(run / "reference.tmp", run / "reference");
  }
  policy_->load(run / "reference", 0);
  policy_->policy().set_reference();
}

int Session::dry_run() {
  open_data();
  make_proposer();
  const std::vector<Phase> phases = phases_of(config_.schedule);
  const harness::Role role = phases.empty() ? config_.schedule.roles.front() : phases.front().role;
  const std::vector<Proposal> proposals = proposer_->propose(role, {}, 1, config_.seed);
  const Proposal& proposal = proposals.front();
  if (!proposal.decoded.ok) {
    say("one candidate: " + proposal.decoded.error);
  } else {
    harness::Triple triple = baseline_;
    triple.at(role) = proposal.decoded.source;
    const auto begin = std::chrono::steady_clock::now();
    const harness::Measurement m = evaluator_->check(triple);
    say(fmt::format(
        "one {} candidate: {}\n  {} at {} in {}{}", harness::to_string(role),
        proposal.decoded.completion, harness::to_string(m.outcome), harness::to_string(m.stage),
        format_duration(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()),
        m.evidence.empty() ? "" : "\n" + m.evidence));
  }
  // Compiling, smoke test, preparing and the sweep take about as long as the race.
  const double candidate_seconds = 2 * config_.judge.race_seconds + 2;
  double total = config_.warm_start.seconds;
  for (const Phase& phase : phases) {
    const auto earlier = std::count_if(earlier_.begin(), earlier_.end(), [&](const auto& module) {
      return module.first == phase.role;
    });
    const int seeds = static_cast<int>(earlier) + config_.seeds.examples + config_.seeds.random +
                      config_.seeds.edits + (phase.round > 0 ? config_.seeds.carried : 0);
    const int candidates = seeds + phase.steps * config_.grpo.groups * config_.grpo.group_size +
                           config_.confirm.verify_top;
    total += candidates * candidate_seconds;
    say(fmt::format("plan: {} (round {}): up to {} candidates, {}", harness::to_string(phase.role),
                    phase.round + 1, candidates, format_duration(candidates * candidate_seconds)));
  }
  total +=
      2 * config_.confirm.race_seconds * static_cast<double>(1 + config_.confirm.datasets.size());
  if (config_.schedule.wall_seconds > 0) total = std::min(total, config_.schedule.wall_seconds);
  say("plan: about " + format_duration(total) + " in all");
  return 0;
}

Confirmation Session::finish(const Trainer& trainer, RunFolder& folder, Archive& archive) {
  std::vector<ConfirmTarget> targets;
  const bool any = trainer.state().best != std::array<int64_t, 3>{0, 0, 0};
  if (any) {
    say("confirming on queries that nothing was chosen by");
    targets.push_back({data_.name, true, [&] {
                         return std::make_unique<JudgeEvaluator>(
                             data_, config_.queries.train, config_.queries.held_out, config_.k,
                             confirm_options(config_));
                       }});
    for (const std::string& name : config_.confirm.datasets) {
      targets.push_back({name, false, [&, name] {
                           OtherData& data = other(name);
                           data.guard.reset();  // gives its memory back
                           return std::make_unique<JudgeEvaluator>(
                               data.data, data.guarding, data.data.queries.rows() - data.guarding,
                               config_.k, confirm_options(config_));
                         }});
    }
  }
  const harness::Triple champion = trainer.best_triple();
  Confirmation confirmation = confirm(champion, baseline_, targets, config_, archive);
  if (confirmation.confirmed) {
    write_champion(folder.path() / "champion", champion, baseline_,
                   {config_.name, config_.seed, trainer.state().best}, confirmation);
  }
  say(any ? confirmation_table(confirmation) : "");
  return confirmation;
}

int Session::run(RunFolder& folder) {
  const StopSignals signals;
  const auto session_start = std::chrono::steady_clock::now();
  RunState state;
  if (folder.resume_from()) {
    state = Checkpoints::load_state(*folder.resume_from());
    say(fmt::format("resuming {} after step {}", folder.path().string(), state.step));
  }
  Archive archive(folder.archive_file());
  archive.truncate_after(state.step);
  RunLog log(folder.path(), config_.report.tensorboard, folder.resume_from() ? state.step : -1,
             terminal_);
  for (const std::string& file : config_.reuse) {
    say(fmt::format("reuse: {} measurements from {}", archive.import_measurements(file), file));
  }
  const Checkpoints checkpoints(folder.checkpoints(), config_.checkpoint.keep);
  const auto save_report = [&](const RunState& now, const Confirmation* confirmation) {
    if (!config_.report.html) return;
    write_file_atomic(
        folder.path() / "report.html",
        run_report(folder.path(), {config_, archive, now, baseline_, confirmation, layers_}));
  };
  try {
    open_data();
    make_proposer();
    if (folder.resume_from()) {
      restore_reference(folder.path());
      proposer_->load(*folder.resume_from() / "policy", state.policy_step);
    } else {
      check_baseline();
      warm_up();
      restore_reference(folder.path());
      state.elapsed =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - session_start).count();
      checkpoints.save(state, [&](const auto& path) { proposer_->save(path / "policy"); });
    }
    Trainer trainer(
        config_,
        {codec_, operators_, *proposer_, *evaluator_, archive, log, baseline_,
         [&](const RunState& now) { save_report(now, nullptr); }, make_guards(), earlier_},
        checkpoints, state);
    trainer.run();
    const Confirmation confirmation = finish(trainer, folder, archive);
    RunState end = trainer.state();
    end.elapsed = trainer.elapsed();
    save_report(end, &confirmation);
    say(confirmation.verdict);
    say(fmt::format("{} in all; see {}", format_duration(trainer.elapsed()),
                    (folder.path() / "report.html").string()));
    return 0;
  } catch (const Stopped& stopped) {
    throw Error(ErrorCategory::kTryAgain,
                fmt::format("stopped by {}; every finished measurement is kept, --resume auto "
                            "goes on",
                            stopped.signal == SIGINT    ? "Ctrl-C"
                            : stopped.signal == SIGTERM ? "SIGTERM"
                                                        : "a signal"));
  }
}

}  // namespace

int run_session(const Config& config, const SessionOptions& options) {
  Session session(config, stdout);
  if (options.dry_run) return session.dry_run();
  RunFolder folder(config, options.resume, session.codec().version());
  return session.run(folder);
}

}  // namespace crinn::train
