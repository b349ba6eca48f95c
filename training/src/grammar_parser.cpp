// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/train/grammar.h"

namespace crinn::train {

namespace {

constexpr std::size_t kPartColumn = 4;  // "    part: text"
constexpr std::size_t kTextColumn = 6;  // lines of a fragment, after "    part:"

bool is_name(std::string_view name, std::string_view extra) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           extra.find(c) != std::string_view::npos;
  });
}

std::string trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

std::vector<std::string> split_words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

/// The names inside ${...} of a fragment.
std::vector<std::string> references(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; (at = text.find("${", at)) != std::string::npos;) {
    const std::size_t close = text.find('}', at);
    out.push_back(text.substr(at + 2, close == std::string::npos ? close : close - at - 2));
    at += 2;
  }
  return out;
}

}  // namespace

/// Reads the text format, then checks the grammar as a whole.
class GrammarParser {
 public:
  GrammarParser(std::string_view text, std::string_view file) {
    grammar_.file_ = file;
    std::istringstream stream{std::string(text)};
    for (std::string line; std::getline(stream, line);) read_line(line);
    end_fragment();
  }

  Grammar finish() {
    if (grammar_.rules_.empty()) fail(line_, "no rule");
    resolve();
    check_acyclic();
    check_reachable();
    check_references();
    for (const auto& [line, name, text] : examples_) {
      try {
        grammar_.examples_.push_back({name, grammar_.parse_text(text)});
      } catch (const Error& error) {
        fail(line, fmt::format("example '{}': {}", name, error.what()));
      }
    }
    return std::move(grammar_);
  }

 private:
  struct RawExample {
    int line;
    std::string name, text;
  };

  [[noreturn]] void fail(int line, const std::string& what) const {
    throw Error(ErrorCategory::kData,
                fmt::format("Grammar: {}:{}: {}", grammar_.file_, line, what));
  }

  void read_line(const std::string& line) {
    ++line_;
    const std::size_t indent = line.find_first_not_of(' ');
    if (indent == std::string::npos) {
      if (fragment_) fragment_->text += '\n';
      return;
    }
    if (fragment_ && indent >= kTextColumn) {
      fragment_->text += line.substr(kTextColumn, line.find_last_not_of(" \r") + 1 - kTextColumn);
      fragment_->text += '\n';
      return;
    }
    end_fragment();
    const std::string content = trim(line);
    if (content[0] == '#') return;
    if (in_example_ && indent > 0) {
      examples_.back().text += " " + content;
    } else if (indent == 0) {
      read_top(content);
    } else if (content[0] == '|') {
      read_alternative(trim(std::string_view(content).substr(1)));
    } else if (indent == kPartColumn) {
      read_part(content);
    } else {
      fail(line_, fmt::format("'{}' is indented by {}: a part stands at {}, its text at {}",
                              content, indent, kPartColumn, kTextColumn));
    }
  }

  void end_fragment() {
    if (!fragment_) return;
    std::string& text = fragment_->text;
    text.erase(text.find_last_not_of('\n') + 1);
    fragment_ = nullptr;
  }

  GrammarRule& add_rule(const std::string& name) {
    if (!is_name(name, "")) fail(line_, fmt::format("'{}' is no name of a rule", name));
    for (const GrammarRule& rule : grammar_.rules_) {
      if (rule.name == name) {
        fail(line_, fmt::format("rule '{}' is defined in line {} already", name, rule.line));
      }
    }
    return grammar_.rules_.emplace_back(GrammarRule{name, {}, line_});
  }

  Production& add_production(const std::string& name) {
    GrammarRule& rule = grammar_.rules_.back();
    if (!is_name(name, ".-+:")) fail(line_, fmt::format("'{}' is no name of an alternative", name));
    for (const Production& production : rule.productions) {
      if (production.name == name) {
        fail(line_, fmt::format("rule '{}' has an alternative '{}' already", rule.name, name));
      }
    }
    child_names_.emplace_back();
    return rule.productions.emplace_back(Production{name, {}, {}, 1, line_});
  }

  void read_top(const std::string& content) {
    in_example_ = false;
    in_constants_ = false;
    if (content.starts_with("example ")) {
      const std::size_t colon = content.find(':');
      if (colon == std::string::npos) fail(line_, "expected 'example NAME: DERIVATION'");
      examples_.push_back({line_, trim(content.substr(8, colon - 8)), content.substr(colon + 1)});
      in_example_ = true;
      return;
    }
    if (content.back() == ':') {
      add_rule(trim(content.substr(0, content.size() - 1)));
      return;
    }
    const std::size_t equals = content.find('=');
    if (equals == std::string::npos) {
      fail(line_,
           fmt::format("expected 'RULE:', 'RULE = VALUES' or 'example', found '{}'", content));
    }
    add_rule(trim(content.substr(0, equals)));
    for (const std::string& value : split_words(content.substr(equals + 1))) {
      add_production(value).parts.push_back({"text", value, line_});
    }
    if (grammar_.rules_.back().productions.empty()) fail(line_, "a rule without values");
    in_constants_ = true;
  }

  void read_alternative(const std::string& content) {
    if (grammar_.rules_.empty() || in_constants_) {
      fail(line_, fmt::format("alternative '{}' outside of a rule", content));
    }
    const std::size_t arrow = content.find("->");
    const std::vector<std::string> head = split_words(content.substr(0, arrow));
    if (head.empty() || head.size() > 2) fail(line_, "expected '| NAME [WEIGHT] [-> CHILDREN]'");
    Production& production = add_production(head[0]);
    if (head.size() == 2) {
      char* end = nullptr;
      production.weight = std::strtod(head[1].c_str(), &end);
      if (*end != 0 || !(production.weight > 0)) {
        fail(line_, fmt::format("'{}' is no weight above zero", head[1]));
      }
    }
    if (arrow != std::string::npos) child_names_.back() = split_words(content.substr(arrow + 2));
  }

  void read_part(const std::string& content) {
    if (grammar_.rules_.empty() || in_constants_ || grammar_.rules_.back().productions.empty()) {
      fail(line_, fmt::format("'{}' outside of an alternative", content));
    }
    const std::size_t colon = content.find(':');
    const std::string name = trim(content.substr(0, colon));
    if (colon == std::string::npos || !is_name(name, "")) {
      fail(line_, fmt::format("expected 'PART: TEXT', found '{}'", content));
    }
    std::vector<GrammarPart>& parts = grammar_.rules_.back().productions.back().parts;
    for (const GrammarPart& part : parts) {
      if (part.name == name) fail(line_, fmt::format("part '{}' stands here twice", name));
    }
    parts.push_back({name, trim(content.substr(colon + 1)), line_});
    if (parts.back().text.empty()) fragment_ = &parts.back();
  }

  void resolve() {
    std::map<std::string, int> index;
    for (std::size_t i = 0; i < grammar_.rules_.size(); ++i) {
      index[grammar_.rules_[i].name] = static_cast<int>(i);
    }
    std::size_t at = 0;
    for (GrammarRule& rule : grammar_.rules_) {
      if (rule.productions.empty()) {
        fail(rule.line,
             fmt::format("rule '{}' is not productive: it has no alternative", rule.name));
      }
      for (Production& production : rule.productions) {
        for (const std::string& word : child_names_[at++]) {
          const std::size_t colon = word.find(':');
          const std::string label = word.substr(0, colon);
          const std::string target = colon == std::string::npos ? label : word.substr(colon + 1);
          if (!index.contains(target)) {
            fail(production.line, fmt::format("'{}' is not defined", target));
          }
          for (const GrammarChild& child : production.children) {
            if (child.label == label) {
              fail(production.line, fmt::format("two children are called '{}'", label));
            }
          }
          production.children.push_back({label, index[target]});
        }
      }
    }
  }

  void check_acyclic() {
    std::vector<int> state(grammar_.rules_.size(), 0);  // 1: on the path, 2: done
    std::vector<std::string> path;
    const std::function<void(int)> visit = [&](int index) {
      const GrammarRule& rule = grammar_.rules_[static_cast<std::size_t>(index)];
      path.push_back(rule.name);
      if (state[static_cast<std::size_t>(index)] == 1) {
        std::string names;
        for (const std::string& name : path) names += (names.empty() ? "" : " -> ") + name;
        fail(rule.line, fmt::format("a rule derives itself: {}", names));
      }
      if (state[static_cast<std::size_t>(index)] == 0) {
        state[static_cast<std::size_t>(index)] = 1;
        for (const Production& production : rule.productions) {
          for (const GrammarChild& child : production.children) visit(child.rule);
        }
        state[static_cast<std::size_t>(index)] = 2;
      }
      path.pop_back();
    };
    for (std::size_t i = 0; i < grammar_.rules_.size(); ++i) visit(static_cast<int>(i));
  }

  void check_reachable() {
    std::set<int> seen;
    const std::function<void(int)> visit = [&](int index) {
      if (!seen.insert(index).second) return;
      for (const Production& production :
           grammar_.rules_[static_cast<std::size_t>(index)].productions) {
        for (const GrammarChild& child : production.children) visit(child.rule);
      }
    };
    visit(grammar_.start());
    for (std::size_t i = 0; i < grammar_.rules_.size(); ++i) {
      if (!seen.contains(static_cast<int>(i))) {
        const GrammarRule& rule = grammar_.rules_[i];
        fail(rule.line, fmt::format("rule '{}' cannot be reached from '{}'", rule.name,
                                    grammar_.rules_[0].name));
      }
    }
  }

  /// Every ${label.part} names a child, and a part that at least one of its alternatives has.
  void check_references() {
    for (const GrammarRule& rule : grammar_.rules_) {
      for (const Production& production : rule.productions) {
        for (const GrammarPart& part : production.parts) {
          for (const std::string& reference : references(part.text)) {
            check_reference(production, part, reference);
          }
        }
      }
    }
  }

  void check_reference(const Production& production, const GrammarPart& part,
                       const std::string& reference) {
    if (reference == "@includes" || reference == "@words" || reference == "@derivation") return;
    const std::size_t dot = reference.find('.');
    const std::string label = reference.substr(0, dot);
    const std::string wanted = dot == std::string::npos ? "text" : reference.substr(dot + 1);
    for (const GrammarChild& child : production.children) {
      if (child.label != label) continue;
      for (const Production& target :
           grammar_.rules_[static_cast<std::size_t>(child.rule)].productions) {
        for (const GrammarPart& have : target.parts) {
          if (have.name == wanted) return;
        }
      }
      fail(part.line,
           fmt::format("${{{}}}: no alternative of '{}' has a part '{}'", reference,
                       grammar_.rules_[static_cast<std::size_t>(child.rule)].name, wanted));
    }
    fail(part.line, fmt::format("${{{}}}: '{}' is no child of alternative '{}'", reference, label,
                                production.name));
  }

  Grammar grammar_;
  std::vector<std::vector<std::string>> child_names_;  // a production each, in file order
  std::vector<RawExample> examples_;
  GrammarPart* fragment_ = nullptr;  // the part whose lines are being read
  bool in_example_ = false;
  bool in_constants_ = false;
  int line_ = 0;
};

Grammar Grammar::parse(std::string_view text, std::string_view file_name) {
  return GrammarParser(text, file_name).finish();
}

Grammar Grammar::load(const std::filesystem::path& file) {
  return parse(read_file(file), file.string());
}

}  // namespace crinn::train
