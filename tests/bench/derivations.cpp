// SPDX-License-Identifier: Apache-2.0
#include "derivations.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "crinn/base/error.h"

namespace crinn::bench {
namespace {

using harness::Role;

[[noreturn]] void refuse(const std::string& file, int line, const std::string& why) {
  throw Error(ErrorCategory::kData, fmt::format("read_derivations: {}:{}: {}", file, line, why));
}

struct Line {
  int number = 0;
  std::string key, value;
};

std::vector<Line> read_lines(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw Error(ErrorCategory::kData, "read_derivations: cannot read " + file);
  std::vector<Line> lines;
  int number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    if (text.empty() || text[0] == '#') continue;
    if (text[0] == ' ') {
      if (lines.empty()) refuse(file, number, "nothing to go on with");
      lines.back().value += " " + text.substr(std::min(text.find_first_not_of(' '), text.size()));
      continue;
    }
    const auto space = text.find(' ');
    lines.push_back({number, text.substr(0, space),
                     space == std::string::npos ? std::string() : text.substr(space + 1)});
  }
  return lines;
}

}  // namespace

std::vector<Entry> read_derivations(const std::string& file, const train::GrammarCodec& codec) {
  std::vector<Entry> entries;
  for (const Line& line : read_lines(file)) {
    if (line.key == "name") {
      entries.push_back({line.value, 32, harness::load_triple("baseline")});
      continue;
    }
    if (entries.empty()) refuse(file, line.number, "the first line must be name NAME");
    bool known = line.key == "degree";
    if (known && (entries.back().degree = std::atoi(line.value.c_str())) < 1) {
      refuse(file, line.number, "degree must be a positive number, not \"" + line.value + "\"");
    }
    for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
      if (line.key != to_string(role)) continue;
      try {
        entries.back().triple.at(role) = codec.render(role, line.value);
      } catch (const Error& error) {
        refuse(file, line.number, error.what());
      }
      known = true;
    }
    if (!known) {
      refuse(file, line.number,
             "expected name, degree, construction, search or refinement, not \"" + line.key + "\"");
    }
  }
  return entries;
}

}  // namespace crinn::bench
