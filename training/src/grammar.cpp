// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>

#include "crinn/base/error.h"

namespace crinn::train {

namespace {

__extension__ using Wide = unsigned __int128;

std::string to_decimal(Wide value) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value > 0);
  return digits;
}

/// Derivations below a rule; rules are acyclic.
Wide count_rule(const Grammar& grammar, int rule, std::vector<Wide>& known) {
  Wide& total = known[static_cast<std::size_t>(rule)];
  if (total != 0) return total;
  Wide sum = 0;
  for (const Production& production : grammar.rules()[static_cast<std::size_t>(rule)].productions) {
    Wide product = 1;
    for (const GrammarChild& child : production.children) {
      if (__builtin_mul_overflow(product, count_rule(grammar, child.rule, known), &product)) {
        throw Error(ErrorCategory::kData, "Grammar::count: more than 10^38 derivations");
      }
    }
    if (__builtin_add_overflow(sum, product, &sum)) {
      throw Error(ErrorCategory::kData, "Grammar::count: more than 10^38 derivations");
    }
  }
  return total = sum;
}

Wide count_all(const Grammar& grammar) {
  std::vector<Wide> known(grammar.rules().size(), 0);
  return count_rule(grammar, grammar.start(), known);
}

}  // namespace

std::string Grammar::count() const { return to_decimal(count_all(*this)); }

double Grammar::log10_count() const {
  return static_cast<double>(std::log10(static_cast<long double>(count_all(*this))));
}

int Grammar::max_choices() const {
  std::vector<int> known(rules_.size(), -1);
  const std::function<int(int)> longest = [&](int rule) {
    int& best = known[static_cast<std::size_t>(rule)];
    if (best >= 0) return best;
    int length = 0;
    for (const Production& production : rules_[static_cast<std::size_t>(rule)].productions) {
      int sum = 0;
      for (const GrammarChild& child : production.children) sum += longest(child.rule);
      length = std::max(length, sum);
    }
    return best = length + (rules_[static_cast<std::size_t>(rule)].is_choice() ? 1 : 0);
  };
  return longest(start());
}

std::string Grammar::choice_name(const Choice& choice) const {
  const GrammarRule& rule = rules_[static_cast<std::size_t>(choice.rule)];
  return rule.name + "=" + rule.productions[static_cast<std::size_t>(choice.production)].name;
}

std::vector<Choice> Grammar::choices(const Derivation& tree) const {
  std::vector<Choice> out;
  const std::function<void(const Derivation&)> walk = [&](const Derivation& node) {
    if (rules_[static_cast<std::size_t>(node.rule)].is_choice()) {
      out.push_back({node.rule, node.production});
    }
    for (const Derivation& child : node.children) walk(child);
  };
  walk(tree);
  return out;
}

Derivation Grammar::tree(const std::vector<Choice>& choices) const {
  std::size_t next = 0;
  const std::function<Derivation(int)> grow = [&](int rule_index) {
    const GrammarRule& rule = rules_[static_cast<std::size_t>(rule_index)];
    Derivation node{rule_index, 0, {}};
    if (rule.is_choice()) {
      if (next == choices.size()) {
        throw Error(ErrorCategory::kUsage, fmt::format("Grammar::tree: ends where a choice of '{}' "
                                                       "is expected (after {} choices)",
                                                       rule.name, next));
      }
      const Choice& choice = choices[next++];
      if (choice.rule != rule_index || choice.production < 0 ||
          choice.production >= static_cast<int>(rule.productions.size())) {
        throw Error(ErrorCategory::kUsage,
                    fmt::format("Grammar::tree: choice {} belongs to rule {}, expected '{}'",
                                next - 1, choice.rule, rule.name));
      }
      node.production = choice.production;
    }
    for (const GrammarChild& child :
         rule.productions[static_cast<std::size_t>(node.production)].children) {
      node.children.push_back(grow(child.rule));
    }
    return node;
  };
  Derivation root = grow(start());
  if (next != choices.size()) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("Grammar::tree: {} choices left over after a complete derivation",
                            choices.size() - next));
  }
  return root;
}

std::string Grammar::to_text(const Derivation& tree) const {
  std::string text;
  for (const Choice& choice : choices(tree)) {
    if (!text.empty()) text += ' ';
    text += choice_name(choice);
  }
  return text;
}

Derivation Grammar::parse_text(std::string_view text) const {
  std::istringstream words{std::string(text)};
  const std::function<Derivation(int)> grow = [&](int rule_index) {
    const GrammarRule& rule = rules_[static_cast<std::size_t>(rule_index)];
    Derivation node{rule_index, 0, {}};
    if (rule.is_choice()) {
      std::string word;
      words >> word;
      const auto found = std::find_if(
          rule.productions.begin(), rule.productions.end(),
          [&](const Production& production) { return rule.name + "=" + production.name == word; });
      if (found == rule.productions.end()) {
        std::string names;
        for (const Production& production : rule.productions) names += " " + production.name;
        throw Error(ErrorCategory::kUsage,
                    fmt::format("Grammar::parse_text: '{}' stands where {}= one of{} is expected",
                                word.empty() ? "the end" : word, rule.name, names));
      }
      node.production = static_cast<int>(found - rule.productions.begin());
    }
    for (const GrammarChild& child :
         rule.productions[static_cast<std::size_t>(node.production)].children) {
      node.children.push_back(grow(child.rule));
    }
    return node;
  };
  Derivation root = grow(start());
  std::string rest;
  if (words >> rest) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("Grammar::parse_text: '{}' follows a complete derivation", rest));
  }
  return root;
}

const Derivation& Grammar::example(std::string_view name) const {
  std::string names;
  for (const Example& example : examples_) {
    if (example.name == name) return example.derivation;
    names += " " + example.name;
  }
  throw Error(
      ErrorCategory::kUsage,
      fmt::format("Grammar::example: no example '{}' in {}; there are:{}", name, file_, names));
}

}  // namespace crinn::train
