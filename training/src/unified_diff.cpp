// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/unified_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace crinn::train {

namespace {

struct Edit {
  char sign;  // ' ', '-' or '+'
  std::string_view line;
};

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1);
    lines.push_back(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::vector<Edit> edit_script(const std::vector<std::string_view>& a,
                              const std::vector<std::string_view>& b) {
  const std::size_t n = a.size(), m = b.size();
  // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
  std::vector<uint32_t> common((n + 1) * (m + 1), 0);
  const auto at = [&](std::size_t i, std::size_t j) -> uint32_t& {
    return common[i * (m + 1) + j];
  };
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t j = m; j-- > 0;) {
      at(i, j) = a[i] == b[j] ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
    }
  }
  std::vector<Edit> script;
  std::size_t i = 0, j = 0;
  while (i < n || j < m) {
    if (i < n && j < m && a[i] == b[j]) {
      script.push_back({' ', a[i++]});
      ++j;
    } else if (i < n && (j == m || at(i + 1, j) >= at(i, j + 1))) {
      script.push_back({'-', a[i++]});
    } else {
      script.push_back({'+', b[j++]});
    }
  }
  return script;
}

}  // namespace

std::string unified_diff(std::string_view from, std::string_view to, std::string_view from_name,
                         std::string_view to_name, int context) {
  if (from == to) return {};
  const std::vector<Edit> script = edit_script(split_lines(from), split_lines(to));
  const auto margin = static_cast<std::size_t>(context);
  std::string out = fmt::format("--- {}\n+++ {}\n", from_name, to_name);
  std::size_t from_line = 1, to_line = 1;
  for (std::size_t i = 0; i < script.size();) {
    // A hunk begins `context` lines before a change and ends where none follows for twice that.
    std::size_t change = i;
    while (change < script.size() && script[change].sign == ' ') ++change;
    if (change == script.size()) break;
    const std::size_t begin = std::max(i, change > margin ? change - margin : 0);
    std::size_t end = change;
    for (std::size_t j = change; j < script.size() && j <= end + 2 * margin; ++j) {
      if (script[j].sign != ' ') end = j;
    }
    end = std::min(end + margin + 1, script.size());
    from_line += begin - i;
    to_line += begin - i;
    std::string body;
    std::size_t from_count = 0, to_count = 0;
    for (std::size_t j = begin; j < end; ++j) {
      from_count += script[j].sign != '+';
      to_count += script[j].sign != '-';
      body += script[j].sign;
      body += script[j].line;
      if (!script[j].line.ends_with('\n')) body += "\n\\ No newline at end of file\n";
    }
    // A side with no lines is named by the line before it.
    out += fmt::format("@@ -{},{} +{},{} @@\n", from_line - (from_count == 0), from_count,
                       to_line - (to_count == 0), to_count);
    out += body;
    from_line += from_count;
    to_line += to_count;
    i = end;
  }
  return out;
}

}  // namespace crinn::train
