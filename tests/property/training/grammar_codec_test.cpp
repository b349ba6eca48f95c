// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/grammar_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <string>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"

namespace crinn::train {
namespace {

using harness::Role;
constexpr Role kRoles[] = {Role::kConstruction, Role::kSearch, Role::kRefinement};
constexpr int kDraws = 3000;

const GrammarCodec& codec() {
  static const GrammarCodec instance;
  return instance;
}

/// Tokens of a walk that draws uniformly among what the matcher allows.
std::vector<int32_t> masked_walk(Role role, Rng& rng) {
  const std::unique_ptr<TokenMatcher> matcher = codec().matcher(role);
  std::vector<uint8_t> mask(static_cast<std::size_t>(codec().vocabulary()));
  std::vector<int32_t> tokens;
  while (!matcher->finished()) {
    matcher->allowed(mask);
    std::vector<int32_t> open;
    for (std::size_t t = 0; t < mask.size(); ++t) {
      if (mask[t]) open.push_back(static_cast<int32_t>(t));
    }
    if (open.empty()) {
      ADD_FAILURE() << "nothing is allowed after " << tokens.size() << " tokens";
      break;
    }
    tokens.push_back(open[rng.below(open.size())]);
    matcher->advance(tokens.back());
  }
  return tokens;
}

TEST(GrammarCodec, MaskedWalksAlwaysEndInAValidDerivation) {
  for (const Role role : kRoles) {
    Rng rng(1);
    for (int i = 0; i < kDraws; ++i) {
      const std::vector<int32_t> tokens = masked_walk(role, rng);
      ASSERT_LE(static_cast<int>(tokens.size()), codec().max_completion_tokens());
      const Decoded decoded = codec().decode(role, tokens);
      ASSERT_TRUE(decoded.ok) << decoded.error;
      ASSERT_EQ(decoded.source.role, role);
      ASSERT_EQ(codec().encode(role, decoded.completion), tokens);
    }
  }
}

TEST(GrammarCodec, DecodeExplainsWhatIsNoDerivation) {
  Rng rng(2);
  std::vector<int32_t> tokens = masked_walk(Role::kSearch, rng);
  std::vector<int32_t> cut(tokens.begin(), tokens.end() - 1);
  EXPECT_NE(codec().decode(Role::kSearch, cut).error.find("before its end token"),
            std::string::npos);
  tokens[0] = 0;
  EXPECT_NE(codec().decode(Role::kSearch, tokens).error.find("token 0 is not allowed"),
            std::string::npos);
  EXPECT_FALSE(codec().decode(Role::kSearch, {}).ok);
}

TEST(GrammarCodec, RandomCompletionsReachEveryProduction) {
  for (const Role role : kRoles) {
    Rng rng(3);
    std::set<int32_t> seen, all;
    for (int i = 0; i < kDraws; ++i) {
      for (int32_t t : codec().encode(role, codec().random_completion(role, rng))) seen.insert(t);
    }
    std::size_t productions = 1;  // the end token
    std::set<std::string> names;
    for (const GrammarRule& rule : codec().grammar(role).rules()) {
      if (!rule.is_choice()) continue;
      for (const Production& production : rule.productions) {
        names.insert(rule.name + "=" + production.name);
      }
    }
    productions += names.size();
    EXPECT_EQ(seen.size(), productions) << static_cast<int>(role);
  }
}

TEST(GrammarCodec, EditsAreValidAndDiffer) {
  for (const Role role : kRoles) {
    Rng rng(4);
    std::string text = codec().random_completion(role, rng);
    for (int i = 0; i < kDraws; ++i) {
      const std::string edited = codec().edit(role, text, rng);
      ASSERT_NE(edited, text);
      ASSERT_EQ(codec().grammar(role).to_text(codec().grammar(role).parse_text(edited)), edited);
      text = edited;
    }
  }
}

TEST(GrammarCodec, EditsKeepMostOfTheDerivation) {
  Rng rng(5);
  for (const Role role : kRoles) {
    double kept = 0, total = 0;
    for (int i = 0; i < 300; ++i) {
      const std::string text = codec().random_completion(role, rng);
      const std::vector<int32_t> a = codec().encode(role, text);
      std::vector<int32_t> b = codec().encode(role, codec().edit(role, text, rng));
      for (const int32_t token : a) {
        const auto found = std::find(b.begin(), b.end(), token);
        if (found == b.end()) continue;
        b.erase(found);
        kept += 1;
      }
      total += static_cast<double>(a.size());
    }
    EXPECT_GT(kept / total, 0.6) << static_cast<int>(role);
  }
}

TEST(GrammarCodec, CrossoversAreValidAndMixOnlyTheirParents) {
  for (const Role role : kRoles) {
    Rng rng(6);
    int changed = 0;
    for (int i = 0; i < kDraws; ++i) {
      const std::string a = codec().random_completion(role, rng);
      const std::string b = codec().random_completion(role, rng);
      const std::string child = codec().crossover(role, a, b, rng);
      std::set<int32_t> parents;
      for (const int32_t token : codec().encode(role, a)) parents.insert(token);
      for (const int32_t token : codec().encode(role, b)) parents.insert(token);
      for (const int32_t token : codec().encode(role, child)) ASSERT_TRUE(parents.contains(token));
      changed += child != a;
      ASSERT_EQ(codec().crossover(role, a, a, rng).empty(), false);
    }
    EXPECT_GT(changed, kDraws * 9 / 10);
  }
}

TEST(GrammarCodec, ProgramsAreShortNarrowAndIncludeOnlyWhatModulesMay) {
  const std::set<std::string> standard = {
      "algorithm", "array",  "bit",     "cmath", "cstddef",     "cstdint", "cstring",
      "limits",    "memory", "numeric", "span",  "type_traits", "utility", "vector"};
  for (const Role role : kRoles) {
    Rng rng(10);
    for (int i = 0; i < 1000; ++i) {
      const std::string completion = codec().random_completion(role, rng);
      std::istringstream text(codec().render(role, completion).text);
      int lines = 0;
      for (std::string line, before = "?"; std::getline(text, line); before = line) {
        ++lines;
        ASSERT_LE(line.size(), 100u) << line << "\n" << completion;
        ASSERT_TRUE(line.empty() || line.back() != ' ') << line;
        ASSERT_FALSE(line.empty() && before.empty()) << "two blank lines: " << completion;
        ASSERT_EQ(line.find("${"), std::string::npos) << line;
        if (!line.starts_with("#include")) continue;
        const std::string name = line.substr(10, line.size() - 11);
        ASSERT_TRUE(standard.contains(name) || name == "crinn/ann/module.h" ||
                    name.starts_with("crinn/ann/toolbox/"))
            << line;
      }
      ASSERT_LE(lines, 300) << completion;
    }
  }
}

TEST(GrammarCodec, ProgramsAreFormattedAsTheHouseIs) {
  const std::string formatter = CRINN_TEST_CLANG_FORMAT;
  if (formatter.empty()) GTEST_SKIP() << "clang-format is not here";
  const TemporaryFolder folder("crinn-format");
  std::vector<std::string> command = {formatter, "--dry-run", "--Werror",
                                      "--style=file:" CRINN_TEST_STYLE};
  for (const Role role : kRoles) {
    Rng rng(11);
    for (int i = 0; i < 200; ++i) {
      const std::string name =
          "role" + std::to_string(static_cast<int>(role)) + "-" + std::to_string(i) + ".h";
      const std::filesystem::path file = folder.path() / name;
      write_file_atomic(file, codec().render(role, codec().random_completion(role, rng)).text);
      command.push_back(file.string());
    }
  }
  const ProcessResult result = run_process(command);
  EXPECT_TRUE(result.ok()) << result.err.substr(0, 4000);
}

TEST(GrammarCodec, ReadsTheDerivationOfARenderedHeader) {
  Rng rng(8);
  for (const Role role : kRoles) {
    for (int i = 0; i < 50; ++i) {
      const std::string completion = codec().random_completion(role, rng);
      const auto [of_role, read] = codec().completion_of(codec().render(role, completion).text);
      EXPECT_EQ(of_role, role);
      EXPECT_EQ(read, completion);
    }
  }
  EXPECT_THROW(codec().completion_of("#pragma once\n"), Error);
  EXPECT_THROW(codec().completion_of("// A derivation of the search grammar:\n//   plan=none"),
               Error);
}

TEST(GrammarCodec, TheFirstExampleIsTheOneNearTheBaseline) {
  for (const Role role : kRoles) {
    ASSERT_FALSE(codec().grammar(role).examples().empty());
    EXPECT_EQ(codec().grammar(role).examples()[0].name, "baseline");
  }
}

TEST(GrammarCodec, OperatorsAreDeterministicForASeed) {
  for (const Role role : kRoles) {
    Rng a(7), b(7);
    const std::string first = codec().random_completion(role, a);
    EXPECT_EQ(first, codec().random_completion(role, b));
    EXPECT_EQ(codec().edit(role, first, a), codec().edit(role, first, b));
  }
}

TEST(GrammarCodec, EveryModuleHasMoreThanABillionPrograms) {
  for (const Role role : kRoles) {
    const Grammar& grammar = codec().grammar(role);
    EXPECT_GT(grammar.log10_count(), 9.0) << static_cast<int>(role);
    EXPECT_NEAR(std::log10(std::stod(grammar.count())), grammar.log10_count(), 1e-9);
  }
}

TEST(GrammarCodec, PromptsHoldTheExemplarsWorstFirst) {
  Rng rng(8);
  for (const Role role : kRoles) {
    const std::string good = codec().random_completion(role, rng);
    const std::string bad = codec().edit(role, good, rng);
    const std::vector<Exemplar> exemplars = {{good, 0.4}, {bad, -6.0}};
    const std::vector<int32_t> prompt = codec().prompt(role, exemplars);
    std::string names;
    for (const int32_t token : prompt) names += codec().token_name(token) + " ";
    const std::string role_name = codec().token_name(prompt[1]);
    const std::string expected = "<bos> " + role_name + " <score 0> " + bad + " <sep> <score " +
                                 std::to_string(GrammarCodec::score_bucket(0.4)) + "> " + good +
                                 " <sep> <go> ";
    EXPECT_EQ(names, expected);
  }
}

TEST(GrammarCodec, PromptsNeverExceedTheirLimit) {
  Rng rng(9);
  for (const Role role : kRoles) {
    for (int i = 0; i < 300; ++i) {
      std::vector<Exemplar> exemplars;
      for (int e = 0; e < 7; ++e) {
        exemplars.push_back({codec().random_completion(role, rng), rng.normal()});
      }
      ASSERT_LE(static_cast<int>(codec().prompt(role, exemplars).size()),
                codec().max_prompt_tokens());
    }
    EXPECT_EQ(codec().prompt(role, {}).size(), 3u);
  }
}

TEST(GrammarCodec, ScoreBucketsAreMonotone) {
  EXPECT_EQ(GrammarCodec::score_bucket(-6), 0);
  EXPECT_EQ(GrammarCodec::score_bucket(-3.5), 0);
  EXPECT_EQ(GrammarCodec::score_bucket(std::nan("")), 0);
  EXPECT_EQ(GrammarCodec::score_bucket(-3.0), 1);
  EXPECT_EQ(GrammarCodec::score_bucket(50), GrammarCodec::kScoreBuckets - 1);
  EXPECT_EQ(GrammarCodec::score_bucket(0.05) - GrammarCodec::score_bucket(-0.05), 1);
  for (double r = -3; r < 3; r += 0.01) {
    ASSERT_LE(GrammarCodec::score_bucket(r), GrammarCodec::score_bucket(r + 0.01));
  }
}

}  // namespace
}  // namespace crinn::train
