// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace crinn::train {

/// A named fragment of C++ (or of the head comment) that a production contributes. The text holds
/// ${child} and ${child.part} where a child's fragment goes.
struct GrammarPart {
  std::string name;
  std::string text;
  int line = 0;
};

/// A nonterminal on the right-hand side: `label` names it in the parts, `rule` says what it is.
struct GrammarChild {
  std::string label;
  int rule = -1;
};

/// One alternative of a rule.
struct Production {
  std::string name;
  std::vector<GrammarChild> children;  ///< in the order in which they are derived
  std::vector<GrammarPart> parts;
  double weight = 1;  ///< how often a random draw takes it, relative to the others
  int line = 0;
};

/// One nonterminal. A rule with one production is no choice: it costs no token.
struct GrammarRule {
  std::string name;
  std::vector<Production> productions;
  int line = 0;
  bool is_choice() const { return productions.size() > 1; }
};

/// A derivation tree.
struct Derivation {
  int rule = 0;
  int production = 0;
  std::vector<Derivation> children;
  bool operator==(const Derivation&) const = default;
};

/// One step of a leftmost derivation.
struct Choice {
  int rule = 0;
  int production = 0;
  bool operator==(const Choice&) const = default;
};

/// A context-free grammar whose derivations render to C++ source. It is acyclic: every program has
/// a bounded length and the language can be counted. training/grammars/README.md has the format.
class Grammar {
 public:
  /// Throws Error (data) that names file:line for syntax, undefined or unreachable nonterminals,
  /// cycles (left recursion among them), duplicate names and unknown ${...}.
  static Grammar parse(std::string_view text, std::string_view file_name);
  static Grammar load(const std::filesystem::path& file);

  const std::vector<GrammarRule>& rules() const { return rules_; }
  int start() const { return 0; }

  /// Number of derivations, exact, in decimal.
  std::string count() const;
  double log10_count() const;
  /// Choices of the longest derivation.
  int max_choices() const;

  /// The choices of a tree in leftmost order, rules with one production left out.
  std::vector<Choice> choices(const Derivation& tree) const;
  /// The tree of a sequence of choices. Throws Error (usage) where it is not a derivation.
  Derivation tree(const std::vector<Choice>& choices) const;

  /// "codes=inline axes=60 pool=linear ...": one line, stable, parsed back by parse_text().
  std::string to_text(const Derivation& tree) const;
  /// Throws Error (usage) that names the word and what was expected in its place.
  Derivation parse_text(std::string_view text) const;
  std::string choice_name(const Choice& choice) const;

  /// Derivations that the file names with `example NAME: TEXT`.
  struct Example {
    std::string name;
    Derivation derivation;
  };
  const std::vector<Example>& examples() const { return examples_; }
  /// Throws Error (usage) that lists the names there are.
  const Derivation& example(std::string_view name) const;

  /// The C++ source of a derivation: part `text` of the start rule's production. ${@includes},
  /// ${@words} and ${@derivation} stand for what the whole tree includes, says and is.
  std::string render(const Derivation& tree) const;

 private:
  friend class GrammarParser;
  std::vector<GrammarRule> rules_;
  std::vector<Example> examples_;
  std::string file_;
};

}  // namespace crinn::train
