// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "crinn/train/grammar.h"

namespace crinn::train {

namespace {

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

bool blank(const std::string& line) { return line.find_first_not_of(' ') == std::string::npos; }

/// Expands templates bottom-up.
class Renderer {
 public:
  Renderer(const Grammar& grammar, const Derivation& root) : grammar_(grammar), root_(root) {}

  std::string part(const Derivation& node, const std::string& name) const {
    for (const GrammarPart& part : production(node).parts) {
      if (part.name == name) return expand(node, part.text);
    }
    return {};
  }

 private:
  const Production& production(const Derivation& node) const {
    return grammar_.rules()[static_cast<std::size_t>(node.rule)]
        .productions[static_cast<std::size_t>(node.production)];
  }

  std::string value(const Derivation& node, const std::string& reference) const {
    if (reference == "@derivation") return derivation();
    if (reference == "@includes") return includes();
    if (reference == "@words") return words();
    const std::size_t dot = reference.find('.');
    const std::string label = reference.substr(0, dot);
    const std::vector<GrammarChild>& children = production(node).children;
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (children[i].label != label) continue;
      return part(node.children[i], dot == std::string::npos ? "text" : reference.substr(dot + 1));
    }
    return {};
  }

  /// Replaces every ${...}. Lines that follow from one value keep the template line's indent; a
  /// line that held nothing but empty values disappears.
  std::string expand(const Derivation& node, const std::string& text) const {
    std::string out;
    bool first = true;
    for (const std::string& line : split_lines(text)) {
      const std::string indent(std::min(line.find_first_not_of(' '), line.size()), ' ');
      std::string filled;
      std::size_t at = 0;
      for (std::size_t open; (open = line.find("${", at)) != std::string::npos;) {
        const std::size_t close = line.find('}', open);
        filled += line.substr(at, open - at);
        for (const char c : value(node, line.substr(open + 2, close - open - 2))) {
          filled += c;
          if (c == '\n') filled += indent;
        }
        at = close + 1;
      }
      filled += line.substr(at);
      if (at > 0 && blank(filled)) continue;
      if (!first) out += '\n';
      first = false;
      out += filled;
    }
    return out;
  }

  /// Every `include` of the tree, one directive a header: our own first, then the standard ones.
  std::string includes() const {
    std::set<std::string> own, standard;
    visit(root_, [&](const Derivation& node) {
      for (const std::string& line : split_lines(part(node, "include"))) {
        if (!blank(line)) (line[0] == '<' ? standard : own).insert(line);
      }
    });
    std::string out;
    for (const std::string& header : standard) out += "#include " + header + "\n";
    if (!standard.empty()) out += "\n";
    for (const std::string& header : own) out += "#include " + header + "\n";
    if (!out.empty()) out.pop_back();
    return out;
  }

  /// Every `words` of the tree as a list in a comment, one entry a production.
  std::string words() const {
    std::string out;
    visit(root_, [&](const Derivation& node) {
      const std::string text = part(node, "words");
      if (!text.empty()) out += wrap("// - ", "//   ", text);
    });
    if (!out.empty()) out.pop_back();
    return out;
  }

  std::string derivation() const {
    std::string out = wrap("//   ", "//   ", grammar_.to_text(root_));
    if (!out.empty()) out.pop_back();
    return out;
  }

  static std::string wrap(const std::string& first, const std::string& next,
                          const std::string& text) {
    std::istringstream words(text);
    std::string out, line = first, word;
    bool fresh = true;
    while (words >> word) {
      if (!fresh && line.size() + 1 + word.size() > kColumns) {
        out += line + "\n";
        line = next;
        fresh = true;
      }
      line += (fresh ? "" : " ") + word;
      fresh = false;
    }
    return out + line + "\n";
  }

  static void visit(const Derivation& node, const std::function<void(const Derivation&)>& see) {
    see(node);
    for (const Derivation& child : node.children) visit(child, see);
  }

  static constexpr std::size_t kColumns = 100;
  const Grammar& grammar_;
  const Derivation& root_;
};

/// At most one blank line in a row, none after an opening or before a closing brace, no trailing
/// spaces.
std::string tidy(const std::string& text) {
  std::vector<std::string> kept;
  for (std::string line : split_lines(text)) {
    line.erase(line.find_last_not_of(' ') + 1);
    if (line.empty()) {
      if (kept.empty() || kept.back().empty() ||
          (kept.back().back() == '{' && !kept.back().starts_with("namespace")) ||
          kept.back().ends_with("public:") || kept.back().ends_with("private:")) {
        continue;
      }
    } else if (!kept.empty() && kept.back().empty() && line[line.find_first_not_of(' ')] == '}' &&
               !line.starts_with("}  // namespace")) {
      kept.pop_back();
    }
    kept.push_back(std::move(line));
  }
  while (!kept.empty() && kept.back().empty()) kept.pop_back();
  std::string out;
  for (const std::string& line : kept) out += line + "\n";
  return out;
}

}  // namespace

std::string Grammar::render(const Derivation& tree) const {
  return tidy(Renderer(*this, tree).part(tree, "text"));
}

}  // namespace crinn::train
