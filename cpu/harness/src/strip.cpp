// SPDX-License-Identifier: Apache-2.0
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cctype>
#include <initializer_list>

#include "screen.h"

namespace crinn::harness {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

/// The word that `text` ends with.
std::string_view last_word(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && is_word(text[begin - 1])) --begin;
  return text.substr(begin);
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> all) {
  return std::find(all.begin(), all.end(), word) != all.end();
}

}  // namespace

std::string strip_comments_and_literals(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  int joined = 0;  // newlines taken out by continuations, given back at the next real one
  const auto at = [&](std::size_t i) { return i < text.size() ? text[i] : '\0'; };
  const auto keep_newline = [&] {
    out += '\n';
    for (; joined > 0; --joined) out += '\n';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && (at(i + 1) == '\n' || (at(i + 1) == '\r' && at(i + 2) == '\n'))) {
      ++joined;
      i += at(i + 1) == '\n' ? 1 : 2;
    } else if (c == '/' && at(i + 1) == '/') {
      while (i + 1 < text.size() && text[i + 1] != '\n') {
        if (text[i + 1] == '\\' && at(i + 2) == '\n') {
          ++joined;
          ++i;
        }
        ++i;
      }
    } else if (c == '/' && at(i + 1) == '*') {
      for (i += 2; i < text.size() && !(text[i] == '*' && at(i + 1) == '/'); ++i) {
        if (text[i] == '\n') keep_newline();
      }
      ++i;
      out += ' ';
    } else if (c == '"' && is_one_of(last_word(out), {"R", "LR", "uR", "UR", "u8R"})) {
      const std::size_t open = text.find('(', i);
      if (open == std::string_view::npos) break;
      const std::string close = fmt::format("){}\"", text.substr(i + 1, open - i - 1));
      const std::size_t end = text.find(close, open);
      const std::size_t stop = end == std::string_view::npos ? text.size() : end + close.size();
      joined +=
          static_cast<int>(std::count(text.begin() + static_cast<std::ptrdiff_t>(i),
                                      text.begin() + static_cast<std::ptrdiff_t>(stop), '\n'));
      out += "\"\"";
      i = stop - 1;
    } else if (c == '"' || (c == '\'' && (out.empty() || !is_word(out.back()) ||
                                          is_one_of(last_word(out), {"L", "u", "U", "u8"})))) {
      // A quote after another word is a digit separator.
      out += c;
      for (++i; i < text.size() && text[i] != c && text[i] != '\n'; ++i) {
        if (text[i] == '\\' && at(++i) == '\n') ++joined;
      }
      if (i < text.size() && text[i] == '\n') keep_newline();
      out += c;
    } else if (c == '\n') {
      keep_newline();
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace crinn::harness
