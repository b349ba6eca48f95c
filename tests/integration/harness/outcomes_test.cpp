// SPDX-License-Identifier: Apache-2.0
// Every way in which a verdict can end, and the defences that need a whole race.
#include <gtest/gtest.h>

#include <cmath>

#include "crinn/base/error.h"
#include "crinn/harness/curve.h"
#include "crinn/harness/judge.h"
#include "support.h"

namespace crinn::harness {
namespace {

using testing::plain_triple;
using testing::quick_options;
using testing::TinyData;

const TinyData& data() {
  static const TinyData data;
  return data;
}

JudgeOptions options() { return quick_options(CRINN_TEST_CACHE); }

void replace(std::string& text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

Triple changed(Role role, const std::string& from, const std::string& to) {
  Triple triple = plain_triple();
  replace(triple.at(role).text, from, to);
  return triple;
}

Measurement run(const Triple& candidate, const JudgeOptions& with = options()) {
  Judge judge(with, data().workload());
  return judge.judge(candidate, plain_triple(), 1);
}

std::string summary(const Measurement& m) {
  return std::string(to_string(m.outcome)) + " at " + std::string(to_string(m.stage)) + ": " +
         m.evidence;
}

TEST(Verdict, NoCode) {
  Triple triple = plain_triple();
  triple.search.text = "int x;";
  const Measurement m = run(triple);
  EXPECT_EQ(m.outcome, Outcome::kNoCode) << summary(m);
  EXPECT_EQ(m.stage, Stage::kExtract);
}

TEST(Verdict, Banned) {
  const Measurement m = run(changed(Role::kSearch, "#include <vector>", "#include <thread>"));
  EXPECT_EQ(m.outcome, Outcome::kBanned) << summary(m);
  EXPECT_EQ(m.stage, Stage::kScreen);
  EXPECT_NE(m.evidence.find("search: line 6"), std::string::npos) << m.evidence;
}

TEST(Verdict, DoesNotCompileWithTheCompilersWords) {
  const Measurement m = run(changed(Role::kSearch, "out.clear();", "out.clear(; no_such_name();"));
  EXPECT_EQ(m.outcome, Outcome::kDoesNotCompile) << summary(m);
  EXPECT_EQ(m.stage, Stage::kSyntax);
  EXPECT_NE(m.evidence.find("search.h:"), std::string::npos) << m.evidence;
  EXPECT_EQ(m.evidence.find(CRINN_TEST_CACHE), std::string::npos) << "no path of the machine";
  EXPECT_EQ(m.evidence.find("crinn-compile"), std::string::npos) << m.evidence;
}

TEST(Verdict, DoesNotCompileWithoutTheContract) {
  const Measurement m = run(changed(Role::kSearch, "uint64_t distance_count = 0;", ""));
  EXPECT_EQ(m.outcome, Outcome::kDoesNotCompile) << summary(m);
}

TEST(Verdict, LowRecallOnTheWorkload) {
  // Right on tiny sets, blind beyond a thousand vectors.
  const Measurement m = run(changed(Role::kSearch, "if (seen == scratch.round) return;",
                                    "if (seen == scratch.round || id > 1000) return;"));
  EXPECT_EQ(m.outcome, Outcome::kLowRecall) << summary(m);
  EXPECT_EQ(m.stage, Stage::kSweep);
}

TEST(Verdict, CrashesOnTheWorkloadOnly) {
  const Measurement m = run(changed(Role::kSearch, "out.clear();",
                                    "out.clear(); if (input_.base.rows > 1000) "
                                    "{ volatile int* volatile null = nullptr; *null = 1; }"));
  EXPECT_EQ(m.outcome, Outcome::kCrashed) << summary(m);
  EXPECT_EQ(m.stage, Stage::kSweep);
}

TEST(Verdict, WrongOnTheWorkloadOnly) {
  const Measurement m = run(changed(Role::kRefinement, "return count;",
                                    "if (count > 1 && ids[0] > 1000) ids[1] = ids[0]; "
                                    "return count;"));
  EXPECT_EQ(m.outcome, Outcome::kWrong) << summary(m);
  EXPECT_NE(m.evidence.find("twice"), std::string::npos) << m.evidence;
}

TEST(Verdict, TimesOutInTheBuild) {
  JudgeOptions quick = options();
  quick.build_deadline_seconds = 1;
  const Measurement m =
      run(changed(Role::kConstruction, "graph.entry_points = {0};",
                  "graph.entry_points = {0}; for (int* volatile p = nullptr; n > 1000 && !p;) {}"),
          quick);
  EXPECT_EQ(m.outcome, Outcome::kTimedOut) << summary(m);
}

TEST(Verdict, BuildTimeOverTheCap) {
  const Measurement m = run(changed(
      Role::kConstruction, "graph.entry_points = {0};",
      "graph.entry_points = {0}; if (n > 1000) for (uint64_t i = 0; i < 400000000; ++i) "
      "state = state * 3 + i; graph.entry_points[0] += static_cast<int32_t>(state == 12345);"));
  EXPECT_EQ(m.outcome, Outcome::kOverCap) << summary(m);
  EXPECT_NE(m.evidence.find("build time"), std::string::npos) << m.evidence;
}

TEST(Verdict, DegreeOverTheCap) {
  const Measurement m = run(
      changed(Role::kConstruction, "Graph graph(n, in.degree);", "Graph graph(n, 2 * in.degree);"));
  EXPECT_EQ(m.outcome, Outcome::kOverCap) << summary(m);
  EXPECT_NE(m.evidence.find("degree"), std::string::npos) << m.evidence;
}

TEST(Verdict, GraphsThatAreNone) {
  for (const auto& [code, words] :
       {std::pair{"graph.entry_points = {-1};", "entry point -1"},
        {"graph.entry_points = {};", "0 entry points"},
        {"graph.entry_points = {0}; graph.row(0)[0] = 0;", "itself"},
        {"graph.entry_points = {0}; if (n > 9) graph.row(1)[0] = graph.row(1)[1];", "twice"},
        {"graph.entry_points = {0}; graph.row(0)[0] = 1 << 20;", "neighbour"},
        {"graph.entry_points = {0}; if (n > 9) graph.row(2)[0] = -1;", "after its padding"},
        {"graph.entry_points = {0}; graph.order.assign(static_cast<std::size_t>(n), 0);",
         "permutation"}}) {
    const Measurement m = run(changed(Role::kConstruction, "graph.entry_points = {0};", code));
    EXPECT_EQ(m.outcome, Outcome::kWrong) << summary(m);
    EXPECT_NE(m.evidence.find(words), std::string::npos) << m.evidence;
  }
}

TEST(Verdict, MemoryOverTheCap) {
  Triple triple =
      changed(Role::kSearch, "SearchInput input_;", "SearchInput input_; std::vector<char> fat_;");
  replace(triple.search.text, ": input_(input) {}",
          ": input_(input), fat_(std::size_t{16} << 20, 'x') {}");
  const Measurement m = run(triple);
  EXPECT_EQ(m.outcome, Outcome::kOverCap) << summary(m);
  EXPECT_NE(m.evidence.find("memory"), std::string::npos) << m.evidence;
  EXPECT_GT(m.candidate_cost.index_bytes, 16 << 20);
}

// A build that waits for the first query: 0.2 s or so of work.
Triple lazy() {
  return changed(Role::kSearch, "out.clear();",
                 "out.clear(); if (scratch.round == 0 && input_.base.rows > 1000) "
                 "for (volatile int i = 0; i < 400000000; i = i + 1) {}");
}

TEST(Defence, LazyBuildIsSeenAndCharged) {
  const Measurement m = run(lazy());
  EXPECT_EQ(m.outcome, Outcome::kOverCap) << summary(m);
  EXPECT_NE(m.evidence.find("lazy build"), std::string::npos) << m.evidence;

  JudgeOptions off = options();
  off.check_lazy = false;
  const Measurement charged = run(lazy(), off);
  EXPECT_EQ(charged.outcome, Outcome::kOverCap) << "its time counts as build time";
  off.build_time_cap = 1e9;
  EXPECT_EQ(run(lazy(), off).outcome, Outcome::kValid) << "without the defences it gets through";
}

// Keeps every answer, and makes the search slow enough to pay; serves none of the last `delay`.
Triple hoarding(int delay = 0) {
  Triple triple = changed(Role::kSearch, "std::vector<bool> expanded;",
                          "std::vector<bool> expanded;\n"
                          "    std::vector<std::vector<float>> keys;\n"
                          "    std::vector<std::vector<Candidate>> answers;");
  replace(triple.search.text, "out.clear();", R"(out.clear();
    std::vector<float> key(query, query + input_.base.cols);
    key.push_back(static_cast<float>(ef));
    for (std::size_t i = kDelay; i < scratch.keys.size(); ++i) {
      if (scratch.keys[i] == key) {
        out = scratch.answers[i];
        return;
      }
    }
    struct Keep {
      Scratch& scratch;
      std::vector<float>& key;
      std::vector<Candidate>& out;
      ~Keep() {
        scratch.keys.insert(scratch.keys.begin(), key);
        scratch.answers.insert(scratch.answers.begin(), out);
        if (scratch.keys.size() > 8000) scratch.keys.pop_back(), scratch.answers.pop_back();
        for (volatile int i = 0; i < 100000; i = i + 1) {
        }
      }
    } keep{scratch, key, out};)");
  replace(triple.search.text, "kDelay", std::to_string(delay));
  return triple;
}

TEST(Defence, AnswersKeptBetweenQueriesAreSeen) {
  JudgeOptions longer = options();
  longer.race_seconds = 4;
  longer.memory_cap = 100;
  longer.min_points = 3;
  const Measurement m = run(hoarding(), longer);
  EXPECT_EQ(m.outcome, Outcome::kWrong) << summary(m);
  EXPECT_NE(m.evidence.find("times faster"), std::string::npos) << m.evidence;
  longer.check_repeats = false;
  longer.check_lazy = false;  // what the first answers cost is hidden work
  EXPECT_EQ(run(hoarding(), longer).outcome, Outcome::kValid)
      << "without the defences it gets through";
}

TEST(Defence, AnswersServedMuchLaterAreSeen) {
  JudgeOptions longer = options();
  longer.race_seconds = 8;
  longer.memory_cap = 100;
  longer.min_points = 3;
  longer.check_lazy = false;       // what the first answers cost is hidden work
  const TinyData many(1500, 480);  // enough to keep some back from the sweep, too
  Judge judge(longer, many.workload());
  const Measurement m = judge.judge(hoarding(100), plain_triple(), 1);
  EXPECT_EQ(m.outcome, Outcome::kWrong) << summary(m);
  EXPECT_NE(m.evidence.find("answers are kept"), std::string::npos) << m.evidence;
}

TEST(Judge, SeesAModuleThatDoesTwiceTheWork) {
  JudgeOptions longer = options();
  longer.race_seconds = 1.5;
  Triple slow = changed(
      Role::kSearch, "explicit Search",
      R"(void search(const float* query, int k, int ef, Scratch& scratch, std::vector<Candidate>& out) const {
    walk(query, k, ef, scratch, out);
    walk(query, k, ef, scratch, out);
  }
  explicit Search)");
  replace(slow.search.text, "void search(const float* query, int, int ef",
          "void walk(const float* query, int, int ef");
  const Measurement m = run(slow, longer);
  ASSERT_EQ(m.outcome, Outcome::kValid) << summary(m);
  double log_ratio = 0;
  int count = 0;
  for (const RaceInstance& instance : m.instances) {
    ASSERT_EQ(instance.baseline.size(), instance.candidate.size());
    for (std::size_t i = 0; i < instance.baseline.size(); ++i) {
      EXPECT_NEAR(instance.baseline[i].recall, instance.candidate[i].recall, 0.02);
      EXPECT_NEAR(
          instance.candidate[i].distances_per_query / instance.baseline[i].distances_per_query, 2,
          0.1);
      log_ratio += std::log(instance.candidate[i].seconds_per_query /
                            instance.baseline[i].seconds_per_query);
      ++count;
    }
  }
  // CPU time of interleaved slices, not wall time: holds on a busy machine.
  EXPECT_NEAR(std::exp(log_ratio / count), 2, 0.5);
}

TEST(Judge, MeasuresEveryMetric) {
  for (const ann::Metric metric : {ann::Metric::kInnerProduct, ann::Metric::kCosine}) {
    const TinyData other(800, 100, 20, metric);
    JudgeOptions with = options();
    with.degree = 32;
    Judge judge(with, other.workload());
    const Measurement m = judge.judge(plain_triple(), plain_triple(), 1);
    EXPECT_EQ(m.outcome, Outcome::kValid) << summary(m);
  }
}

TEST(Judge, KeepsAGraphOfALowerDegreeThanWasAllowed) {
  Judge judge(options(), data().workload());
  Triple half =
      changed(Role::kConstruction, "const int64_t n = in.base.rows;",
              "const int64_t n = in.base.rows; const int32_t half_degree = in.degree / 2;");
  std::string& text = half.construction.text;
  const auto body = text.find("Graph graph(n");
  for (auto at = text.find("in.degree", body); at != std::string::npos;
       at = text.find("in.degree", at)) {
    text.replace(at, 9, "half_degree");
  }
  const std::string loop = "while (true) {";
  half.search.text.insert(half.search.text.find(loop),
                          "if (input_.graph.neighbors.cols != 8) throw 1;\n");
  const Measurement m = judge.judge(half, plain_triple(), 1);
  EXPECT_EQ(m.outcome, Outcome::kValid) << summary(m);
}

TEST(Judge, BuildsWithSeveralThreads) {
  JudgeOptions with = options();
  with.build_threads = 2;
  with.seed = 5;  // a graph of its own in the cache
  Judge judge(with, data().workload());
  const Triple baseline = load_triple("baseline");
  const Measurement m = judge.judge(baseline, baseline, 1);
  EXPECT_EQ(m.outcome, Outcome::kValid) << summary(m);
}

TEST(Judge, RacesNeitherSideAlone) {
  const Measurement m = run(changed(Role::kSearch, "out.clear();", "out.clear(); ef *= 30;"));
  ASSERT_EQ(m.outcome, Outcome::kValid) << summary(m);
  const auto slices = [](const std::vector<RacePoint>& points) {
    int64_t sum = 0;
    for (const RacePoint& point : points) sum += point.slices;
    return sum;
  };
  for (const RaceInstance& instance : m.instances) {
    ASSERT_NE(instance.baseline.size(), instance.candidate.size()) << "the test shows nothing";
    // The candidate's one point met the baseline's every one. (A gap may drop some of those.)
    EXPECT_GE(slices(instance.candidate), slices(instance.baseline));
  }
}

TEST(Judge, ChargesWorkThatTheTimedSlicesDoNotShow) {
  JudgeOptions with = options();
  with.race_seconds = 12;  // slices enough for the robust mean to leave some out
  Judge judge(with, data().workload());
  const Measurement m =
      judge.judge(changed(Role::kSearch, "out.clear();",
                          "out.clear(); if (scratch.round == 100) { volatile double x = 1.0; "
                          "for (int i = 0; i < 1000000000; ++i) x = x / 1.0000001; }"),
                  plain_triple(), 1);
  EXPECT_EQ(m.outcome, Outcome::kOverCap) << summary(m);
  EXPECT_NE(m.evidence.find("CPU time beyond"), std::string::npos) << m.evidence;
}

TEST(Judge, RewardsNoAnswersBelowSomeEffort) {
  Judge judge(options(), data().workload());
  const Measurement m =
      judge.judge(changed(Role::kSearch, "out.clear();", "out.clear(); if (ef < 40) return;"),
                  plain_triple(), 1);
  ASSERT_EQ(m.outcome, Outcome::kValid) << summary(m);
  for (const RaceInstance& instance : m.instances) {
    EXPECT_LT(area_ratio(instance, 0.85, 0.95), 1.3);
  }
}

TEST(Judge, RacesNoFurtherWhatIsBelowItsLimit) {
  Judge judge(options(), data().workload());
  const Measurement whole = judge.judge(plain_triple(), plain_triple(), 1, 0.1);
  EXPECT_EQ(whole.instances.size(), 2u) << summary(whole);
  const Measurement brief = judge.judge(plain_triple(), plain_triple(), 1, 100);
  EXPECT_EQ(brief.outcome, Outcome::kValid) << summary(brief);
  EXPECT_EQ(brief.instances.size(), 1u);
  EXPECT_GT(brief.race_seconds, 0);
  EXPECT_LE(brief.prove_seconds + brief.sweep_seconds + brief.race_seconds, brief.judge_seconds);
}

TEST(Judge, BlamesTheBaselineWithAnError) {
  Judge judge(options(), data().workload());
  EXPECT_THROW(judge.judge(plain_triple(),
                           changed(Role::kRefinement, "return count;", "return count + 1000;"), 1),
               Error);
}

TEST(Judge, RefusesWhatItCannotMeasure) {
  Workload load = data().workload();
  load.kth_distance = load.kth_distance.subspan(1);
  EXPECT_THROW(Judge(options(), load), Error);
  JudgeOptions nowhere = options();
  nowhere.core = 4000;
  EXPECT_THROW(Judge(nowhere, data().workload()), Error);
}

TEST(Judge, ChecksAModuleWithoutARace) {
  Judge judge(options(), data().workload());
  const Measurement m = judge.check(plain_triple());
  EXPECT_EQ(m.outcome, Outcome::kValid) << summary(m);
  EXPECT_EQ(m.stage, Stage::kSmoke);
  EXPECT_TRUE(m.instances.empty());
}

TEST(Judge, NamesItsLayers) {
  Judge judge(options(), data().workload());
  for (const char* layer : {"userns", "mountns", "pidns", "netns", "ipcns", "seccomp", "rlimits",
                            "uid-drop", "no-capabilities", "sealed-data", "compile-jail"}) {
    EXPECT_NE(std::find(judge.layers().begin(), judge.layers().end(), layer), judge.layers().end())
        << layer;
  }
}

TEST(LoadTriple, ReadsTheBaselineAndNamesWhatIsMissing) {
  const Triple triple = load_triple("baseline");
  EXPECT_NE(triple.search.text.find("Search"), std::string::npos);
  EXPECT_EQ(triple.refinement.role, Role::kRefinement);
  try {
    load_triple("no-such-triple");
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no-such-triple"), std::string::npos);
  }
}

}  // namespace
}  // namespace crinn::harness
