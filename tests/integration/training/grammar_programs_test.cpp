// SPDX-License-Identifier: Apache-2.0
// Compiles random derivations of every grammar and runs them: CRINN_GRAMMAR_PROGRAMS of each (200),
// a batch to a translation unit, each in a namespace of its own.
#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "crinn/base/files.h"
#include "crinn/train/grammar_codec.h"

namespace crinn::train {
namespace {

using harness::Role;
constexpr int kBatch = 20;

int programs() {
  const char* wanted = std::getenv("CRINN_GRAMMAR_PROGRAMS");
  return wanted ? std::atoi(wanted) : 200;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// One translation unit: the programs, and run(i), which says what is wrong with the i-th.
std::string batch_source(const GrammarCodec& codec, Role role,
                         const std::vector<std::string>& completions, const char* check) {
  std::string modules, cases;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    const std::string name = fmt::format("crinn::ann::candidate_{}", i);
    std::string text = codec.render(role, completions[i]).text;
    text = replaced(text, "#pragma once\n", "");
    modules += replaced(text, "crinn::ann::candidate", name);
    cases += fmt::format("    case {}: result = crinn::ann::smoke::{}; break;\n", i,
                         fmt::format(fmt::runtime(check), name));
  }
  return "#include \"grammar_smoke.h\"\n" + modules +
         "extern \"C\" const char* run(int program) {\n"
         "  static std::string result;\n"
         "  switch (program) {\n" +
         cases + "  }\n  return result.c_str();\n}\n";
}

/// Compiles the unit into a shared object; the compiler's messages are the failure.
void compile(const std::filesystem::path& folder, const std::string& source) {
  write_file_atomic(folder / "unit.cpp", source);
  const std::string command = fmt::format(
      "{} -std=c++20 -O1 -march={} -Wall -Wextra -Wpedantic -Werror -fPIC -shared {} -I{} {} {} "
      "-o {} 2> {}",
      CRINN_TEST_CXX, CRINN_TEST_ARCH, CRINN_TEST_INCLUDES, CRINN_TEST_SOURCE_DIR,
      (folder / "unit.cpp").string(), CRINN_TEST_LIBRARIES, (folder / "unit.so").string(),
      (folder / "messages").string());
  ASSERT_EQ(std::system(command.c_str()), 0)
      << read_file(folder / "messages").substr(0, 4000) << "\nfrom " << command;
}

void run_batch(const GrammarCodec& codec, Role role, const std::vector<std::string>& completions,
               const char* check) {
  const TemporaryFolder folder("crinn-grammar");
  ASSERT_NO_FATAL_FAILURE(compile(folder.path(), batch_source(codec, role, completions, check)));
  void* object = dlopen((folder.path() / "unit.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(object, nullptr) << dlerror();
  const auto run = reinterpret_cast<const char* (*)(int)>(dlsym(object, "run"));
  ASSERT_NE(run, nullptr);
  for (std::size_t i = 0; i < completions.size(); ++i) {
    const std::string wrong = run(static_cast<int>(i));
    EXPECT_EQ(wrong, "") << completions[i];
  }
  dlclose(object);
}

void run_role(Role role, const char* check) {
  const GrammarCodec codec;
  Rng rng(2026);
  std::vector<std::string> batch;
  for (const Grammar::Example& example : codec.grammar(role).examples()) {
    batch.push_back(codec.grammar(role).to_text(example.derivation));
  }
  std::set<std::string> seen(batch.begin(), batch.end());
  for (int i = 0; i < programs(); ++i) {
    const std::string completion = codec.random_completion(role, rng);
    if (seen.insert(completion).second) batch.push_back(completion);
    if (batch.size() == kBatch || i + 1 == programs()) {
      run_batch(codec, role, batch, check);
      if (testing::Test::HasFatalFailure()) return;
      batch.clear();
    }
  }
}

TEST(GrammarPrograms, ConstructionsCompileAndBuildSearchableGraphs) {
  run_role(Role::kConstruction, "check_construction<{}::Construction>()");
}

TEST(GrammarPrograms, SearchesCompileAndFindNeighbors) {
  run_role(Role::kSearch, "check_search<{}::Search>()");
}

TEST(GrammarPrograms, RefinementsCompileAndRank) {
  run_role(Role::kRefinement, "check_refinement<{}::Refinement>()");
}

}  // namespace
}  // namespace crinn::train
