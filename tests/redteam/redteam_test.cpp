// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "attacks.h"
#include "crinn/harness/judge.h"
#include "support.h"

namespace crinn::harness {
namespace {

using testing::Attack;
using testing::attacks;
using testing::hostile_text;
using testing::plain_triple;
using testing::TinyData;

Triple hostile_triple(const Attack& attack) {
  Triple triple = plain_triple();
  triple.at(attack.role).text = hostile_text(attack, triple.at(attack.role).text);
  return triple;
}

// Children of this process, dead ones included.
int children() {
  int count = 0;
  DIR* proc = opendir("/proc");
  while (const dirent* entry = readdir(proc)) {
    std::ifstream stat(std::string("/proc/") + entry->d_name + "/stat");
    std::string pid, name, state;
    int parent = 0;
    if (stat >> pid >> name >> state >> parent) count += parent == getpid();
  }
  closedir(proc);
  return count;
}

class RedTeam : public ::testing::TestWithParam<Attack> {
 protected:
  static JudgeOptions options() {
    JudgeOptions options = testing::quick_options(CRINN_TEST_CACHE);
    options.smoke_deadline_seconds = 5;
    options.compile_deadline_seconds = 12;
    return options;
  }
  const TinyData data_{300, 20, 8};
};

// The screen is switched off: the jail alone must hold.
TEST_P(RedTeam, IsCaughtWithoutTheScreen) {
  JudgeOptions options = RedTeam::options();
  options.screen = false;
  Judge judge(options, data_.workload());
  const Measurement m = judge.check(hostile_triple(GetParam()));
  EXPECT_EQ(m.outcome, GetParam().outcome)
      << to_string(m.outcome) << " at " << to_string(m.stage) << ": " << m.evidence;
  EXPECT_NE(m.evidence.find(GetParam().evidence), std::string::npos) << m.evidence;
  EXPECT_EQ(m.evidence.find("root:"), std::string::npos) << "a secret leaked: " << m.evidence;
  EXPECT_EQ(children(), 0);
  EXPECT_EQ(judge.check(plain_triple()).outcome, Outcome::kValid) << "the judge survives";
}

TEST_P(RedTeam, IsSeenByTheScreenWhereItsTextShowsIt) {
  if (!GetParam().banned) GTEST_SKIP() << "an ordinary construct: left to the jail";
  Judge judge(RedTeam::options(), data_.workload());
  const Measurement m = judge.check(hostile_triple(GetParam()));
  EXPECT_EQ(m.outcome, Outcome::kBanned) << to_string(m.outcome) << ": " << m.evidence;
  EXPECT_EQ(m.stage, Stage::kScreen);
}

INSTANTIATE_TEST_SUITE_P(Attacks, RedTeam, ::testing::ValuesIn(attacks()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace crinn::harness
