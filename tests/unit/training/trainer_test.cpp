// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "analytic_evaluator.h"
#include "crinn/base/files.h"
#include "crinn/harness/judge.h"
#include "crinn/train/champion.h"
#include "crinn/train/grammar_codec.h"
#include "crinn/train/run_report.h"

namespace crinn::train {
namespace {

using harness::Role;

Config small_config(ProposerKind proposer) {
  Config config;
  config.seed = 11;
  config.proposer = proposer;
  config.grpo.group_size = 4;
  config.grpo.oversample = 1;
  config.grpo.learning_rate = 1e-3;
  config.seeds = {1, 2, 2, 2};
  config.schedule.roles = {Role::kSearch, Role::kRefinement};
  config.schedule.steps = {{Role::kConstruction, 0}, {Role::kSearch, 3}, {Role::kRefinement, 2}};
  config.policy.hidden_size = 32;
  config.policy.layers = 1;
  config.policy.heads = 2;
  config.policy.kv_heads = 1;
  config.policy.head_dim = 16;
  config.policy.intermediate_size = 64;
  return config;
}

harness::Triple baseline_triple() {
  harness::Triple triple;
  for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
    triple.at(role) = {role, "baseline", "// baseline " + std::string(to_string(role))};
  }
  return triple;
}

/// One run in a folder, in as many processes as it takes.
struct Session {
  Config config;
  std::filesystem::path folder;
  AnalyticEvaluator evaluator{hashed_speed};
  GrammarCodec codec;
  Operators operators = grammar_operators(codec);
  RunState state;
  std::vector<Guard> guards;
  std::vector<std::pair<Role, std::string>> earlier;

  Session(Config c, std::filesystem::path f) : config(std::move(c)), folder(std::move(f)) {}

  /// False when it was killed.
  bool go(bool resume = false) {
    const Checkpoints checkpoints(folder / "checkpoints", 2);
    std::unique_ptr<Proposer> proposer;
    if (config.proposer == ProposerKind::kPolicy) {
      proposer = std::make_unique<PolicyProposer>(make_policy(config.policy, codec, config.seed),
                                                  codec, config.grpo);
    } else {
      proposer = std::make_unique<OperatorProposer>(config.proposer, codec, operators);
    }
    RunState start;
    if (const auto latest = checkpoints.latest(); resume && latest) {
      start = Checkpoints::load_state(*latest);
      proposer->load(*latest / "policy", start.policy_step);
    }
    Archive archive(folder / "archive.sqlite");
    archive.truncate_after(start.step);
    RunLog log(folder, false, resume ? start.step : -1, nullptr);
    Trainer trainer(config,
                    {codec, operators, *proposer, evaluator, archive, log, baseline_triple(),
                     nullptr, guards, earlier},
                    checkpoints, start);
    try {
      trainer.run();
    } catch (const Killed&) {
      return false;
    }
    state = trainer.state();
    return true;
  }
  std::vector<CandidateRow> rows() const { return Archive(folder / "archive.sqlite").candidates(); }
};

void expect_same_course(const Session& a, const Session& b) {
  const auto left = a.rows(), right = b.rows();
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].id, right[i].id);
    EXPECT_EQ(left[i].step, right[i].step);
    EXPECT_EQ(left[i].slot, right[i].slot);
    EXPECT_EQ(left[i].completion, right[i].completion) << "candidate " << left[i].id;
    EXPECT_EQ(left[i].reward, right[i].reward);
    EXPECT_EQ(left[i].parents, right[i].parents);
    EXPECT_EQ(left[i].policy_step, right[i].policy_step);
  }
  const auto left_lines = read_metrics(a.folder), right_lines = read_metrics(b.folder);
  ASSERT_EQ(left_lines.size(), right_lines.size());
  for (std::size_t i = 0; i < left_lines.size(); ++i) {
    for (const auto& [name, value] : left_lines[i].values) {
      if (name.starts_with("timing_s/") || name == "step_time" || name == "cached_fraction") {
        continue;
      }
      for (const auto& [other, right_value] : right_lines[i].values) {
        if (other != name) continue;
        EXPECT_EQ(value, right_value) << name << " in line " << i;
      }
    }
  }
}

TEST(Trainer, BuildsEachPhaseOnTheBestTripleSoFar) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kEdit), folder.path());
  ASSERT_TRUE(run.go());
  EXPECT_EQ(run.state.phase, 2);
  EXPECT_EQ(run.state.best[0], 0);
  ASSERT_GT(run.state.best[1], 0);
  const auto rows = run.rows();
  double best_search = 0;
  for (const CandidateRow& row : rows) {
    if (row.phase == 0 && row.outcome == harness::Outcome::kValid) {
      best_search = std::max(best_search, row.ratio);
    }
  }
  // The incumbent of the second phase stands at the first one's verified ratio.
  for (const CandidateRow& row : rows) {
    if (row.phase == 1 && row.origin == Origin::kBaseline) {
      EXPECT_NEAR(row.ratio, best_search, 1e-9);
    }
  }
  EXPECT_GE(run.state.best_ratio.estimate, best_search - 1e-9);
}

TEST(Trainer, BeginsAPhaseWithAnEarlierRunsModules) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kEdit), folder.path());
  Rng rng(3);
  for (const Role role : {Role::kRefinement, Role::kSearch}) {
    run.earlier.emplace_back(role, run.codec.random_completion(role, rng));
  }
  ASSERT_TRUE(run.go());
  for (const auto& [role, completion] : run.earlier) {
    const auto rows = run.rows();
    // The phase's first row is its incumbent.
    const auto first = std::find_if(rows.begin(), rows.end(), [role = role](const auto& row) {
      return row.role == role && row.slot == 1;
    });
    ASSERT_NE(first, rows.end());
    EXPECT_EQ(first->completion, completion);
    EXPECT_EQ(first->origin, Origin::kCarried);
  }
}

TEST(Champion, NamesDerivationsThatTheGrammarsStillHave) {
  const GrammarCodec codec;
  const harness::Triple champion = harness::load_triple("champion");
  int named = 0;
  for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
    const std::string& text = champion.at(role).text;
    if (text.find("// The baseline's") != std::string::npos) continue;  // what no candidate beat
    EXPECT_EQ(codec.completion_of(text).first, role);
    ++named;
  }
  EXPECT_GT(named, 0);
}

TEST(Trainer, MeasuresNoProgramTwice) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kEdit), folder.path());
  ASSERT_TRUE(run.go());
  const int calls = run.evaluator.calls;
  Archive archive(folder.path() / "archive.sqlite");
  EXPECT_EQ(archive.measurements(), calls);
  std::filesystem::remove_all(folder.path() / "checkpoints");
  Session again(small_config(ProposerKind::kEdit), folder.path());
  ASSERT_TRUE(again.go());
  EXPECT_EQ(again.evaluator.calls, 0) << "everything is found in the archive";
}

TEST(Trainer, FindsThePlantedGainAndRejectsNone) {
  const TemporaryFolder folder;
  Config config = small_config(ProposerKind::kRandom);
  Session slow(config, folder.path() / "slow");
  std::filesystem::create_directories(slow.folder);
  slow.evaluator = AnalyticEvaluator([](const harness::Triple&) { return 0.9; });
  ASSERT_TRUE(slow.go());
  EXPECT_EQ(slow.state.best, (std::array<int64_t, 3>{0, 0, 0}));
  Archive archive(slow.folder / "archive.sqlite");
  const Confirmation none = confirm(baseline_triple(), baseline_triple(), {}, slow.config, archive);
  EXPECT_FALSE(none.confirmed);
  EXPECT_EQ(none.verdict.rfind("no gain found", 0), 0u) << none.verdict;
}

TEST(Trainer, TakesTheLesserOfTwoImplausibleMeasurements) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kRandom), folder.path());
  int calls = 0;
  // The first measurement of any program says 40 times as fast, later ones 1.1.
  run.evaluator =
      AnalyticEvaluator([&](const harness::Triple&) { return ++calls % 2 ? 40.0 : 1.1; });
  ASSERT_TRUE(run.go());
  for (const CandidateRow& row : run.rows()) {
    if (row.phase != 0 || row.origin != Origin::kRandom) continue;
    EXPECT_LT(row.ratio, 2) << row.id;
  }
}

TEST(Trainer, TakesNoWinnerThatIsSlowerOnAGuardsData) {
  for (const double speed : {0.9, 0.99}) {
    const TemporaryFolder folder;
    Session run(small_config(ProposerKind::kEdit), folder.path());
    AnalyticEvaluator other([&](const harness::Triple&) { return speed; }, "other");
    run.guards = {{"other", [&]() -> Evaluator& { return other; }}};
    ASSERT_TRUE(run.go());
    EXPECT_GT(other.calls, 0);
    EXPECT_EQ(run.state.best[1] > 0, speed > 0.98) << speed;
  }
}

TEST(Trainer, CountsWhatARecordIsOnAGuardsData) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kEdit), folder.path());
  AnalyticEvaluator other([](const harness::Triple& triple) { return hashed_speed(triple) - 0.5; },
                          "other");
  run.guards = {{"other", [&]() -> Evaluator& { return other; }}};
  ASSERT_TRUE(run.go());
  double best = 1;
  int records = 0;
  for (const CandidateRow& row : run.rows()) {
    if (row.outcome != harness::Outcome::kValid || row.origin == Origin::kVerify) continue;
    if (row.evidence.ends_with(" on other")) {
      EXPECT_LT(row.ratio, 0.98) << row.id;
      ++records;
    } else if (row.origin != Origin::kBaseline && row.origin != Origin::kCarried) {
      // On the guard's data 0.5 slower: what beats the best by itself is fast enough there, too.
      EXPECT_TRUE(row.ratio <= best || row.ratio >= 1.48) << row.id << " " << row.ratio;
    }
    best = std::max(best, row.ratio);
  }
  EXPECT_GT(records, 0);
}

TEST(Trainer, RacesToTheEndOnlyWhatComesNearTheBest) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kEdit), folder.path());
  ASSERT_TRUE(run.go());
  Archive archive(folder.path() / "archive.sqlite");
  double best = 1;
  int brief = 0, whole = 0;
  for (const CandidateRow& row : run.rows()) {
    if (row.outcome != harness::Outcome::kValid || row.measurement_key.empty()) continue;
    const std::size_t instances = archive.find(row.measurement_key)->instances.size();
    if (row.origin == Origin::kVerify || !(row.ratio < 0.9 * best)) {
      EXPECT_EQ(instances, 3u) << row.id;
      ++whole;
    } else if (!row.cached) {  // drawn again, it keeps the whole race that it once had
      EXPECT_EQ(instances, 1u) << row.id;
      ++brief;
    }
    best = std::max(best, row.ratio);
  }
  EXPECT_GT(brief, 0);
  EXPECT_GT(whole, 0);
}

TEST(Trainer, ResumesWhereverItWasKilled) {
  for (const ProposerKind kind : {ProposerKind::kEdit, ProposerKind::kPolicy}) {
    const TemporaryFolder folder;
    Session whole(small_config(kind), folder.path() / "whole");
    std::filesystem::create_directories(whole.folder);
    ASSERT_TRUE(whole.go());
    const int total = whole.evaluator.calls;
    ASSERT_GT(total, 10);
    for (const int kill_at : {1, 3, total / 2, total - 1}) {
      Session broken(small_config(kind), folder.path() / std::to_string(kill_at));
      std::filesystem::create_directories(broken.folder);
      broken.evaluator.kill_at = kill_at;
      ASSERT_FALSE(broken.go());
      ASSERT_TRUE(broken.go(true));
      EXPECT_EQ(broken.evaluator.calls, total + 1) << "only the killed measurement is repeated";
      expect_same_course(whole, broken);
    }
  }
}

TEST(Trainer, SkipsGroupsThatNoiseAloneTellsApart) {
  std::vector<CandidateRow> group(3);
  for (std::size_t i = 0; i < 3; ++i) {
    group[i].outcome = harness::Outcome::kValid;
    group[i].reward = 0.1 + 0.01 * static_cast<double>(i);  // standard deviation 0.01
    group[i].ratio_error = 0.02;
  }
  EXPECT_TRUE(is_zero_variance(group, -1.5, 1));
  EXPECT_FALSE(is_zero_variance(group, -1.5, 0.25));
  for (CandidateRow& row : group) row.ratio_error = std::nan("");
  EXPECT_FALSE(is_zero_variance(group, -1.5, 1));
  EXPECT_TRUE(is_zero_variance(group, 0.5, 1)) << "below the floor all are equal";
}

TEST(Champion, IsWrittenWithProvenanceDiffAndReport) {
  const TemporaryFolder folder;
  Session run(small_config(ProposerKind::kEdit), folder.path());
  ASSERT_TRUE(run.go());
  Archive archive(folder.path() / "archive.sqlite");
  harness::Triple champion = baseline_triple();
  champion.search.text = archive.candidate(run.state.best[1]).value().source;
  std::vector<ConfirmTarget> targets;
  for (const char* name : {"main", "other <set>"}) {
    targets.push_back({name, targets.empty(), [] {
                         return std::make_unique<AnalyticEvaluator>(
                             [](const harness::Triple&) { return 1.5; });
                       }});
  }
  const Confirmation confirmation =
      confirm(champion, baseline_triple(), targets, run.config, archive);
  EXPECT_TRUE(confirmation.confirmed) << confirmation.verdict;
  EXPECT_EQ(confirmation.verdict.rfind("confirmed: 1.500x", 0), 0u) << confirmation.verdict;
  write_champion(folder.path() / "champion", champion, baseline_triple(),
                 {"run", 1, run.state.best}, confirmation);
  const std::string search = read_file(folder.path() / "champion" / "search.h");
  EXPECT_EQ(
      search.rfind("// SPDX-License-Identifier: Apache-2.0\n// Found by crinn-train: run run", 0),
      0u);
  EXPECT_NE(search.find("namespace crinn::ann::champion"), std::string::npos);
  EXPECT_NE(read_file(folder.path() / "champion" / "champion.diff").find("+++ champion/search.h"),
            std::string::npos);
  const std::string page = run_report(
      folder.path(), {run.config, archive, run.state, baseline_triple(), &confirmation, "jail"});
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("other &lt;set&gt;"), std::string::npos);
  EXPECT_EQ(page.find("other <set>"), std::string::npos);
}

TEST(Confirm, FailsOnARegressionElsewhere) {
  const TemporaryFolder folder;
  Archive archive(folder.path() / "a");
  const auto target = [](bool primary, double speed) {
    return ConfirmTarget{primary ? "main" : "other", primary, [speed] {
                           return std::make_unique<AnalyticEvaluator>(
                               [speed](const harness::Triple&) { return speed; },
                               std::to_string(speed));
                         }};
  };
  harness::Triple champion = baseline_triple();
  const auto verdict = [&](double main, double other) {
    champion.search.text += "\nint x;";  // a fresh key
    return confirm(champion, baseline_triple(), {target(true, main), target(false, other)},
                   Config{}, archive);
  };
  EXPECT_TRUE(verdict(1.2, 0.99).confirmed);
  EXPECT_FALSE(verdict(1.2, 0.9).confirmed);
  EXPECT_FALSE(verdict(1.0, 2.0).confirmed);
  EXPECT_FALSE(verdict(0, 2.0).confirmed);
}

TEST(Confirm, KeepsNothingOfAMachineThatIsTooNoisy) {
  const TemporaryFolder folder;
  Archive archive(folder.path() / "a");
  const ConfirmTarget target{"main", true, [] {
                               auto evaluator = std::make_unique<AnalyticEvaluator>(
                                   [](const harness::Triple&) { return 1.5; });
                               evaluator->noise = harness::NoiseGrade::kUnusable;
                               return evaluator;
                             }};
  const Confirmation result =
      confirm(baseline_triple(), baseline_triple(), {target}, Config{}, archive);
  EXPECT_FALSE(result.confirmed);
  EXPECT_EQ(result.verdict.rfind("not confirmed: 1.500x", 0), 0u) << result.verdict;
  EXPECT_EQ(archive.measurements(), 0);
}

}  // namespace
}  // namespace crinn::train
