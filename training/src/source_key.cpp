// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/source_key.h"

#include <cctype>

#include "crinn/base/hash.h"

namespace crinn::train {

namespace {

bool is_punctuation(char c) {
  return std::string_view("(){}[];,").find(c) != std::string_view::npos;
}

/// Appends what separates two pieces of code, unless a bracket beside it makes it redundant.
void append_gap(std::string& out, bool directive, bool newline) {
  if (out.empty() || out.back() == '\n') return;
  if (directive && newline) {
    out += '\n';
  } else if (out.back() != ' ' && !is_punctuation(out.back())) {
    out += ' ';
  }
}

}  // namespace

std::string normalise_source(std::string_view source) {
  // The delimiters of a raw string may look like comments: such a source is taken as it is.
  if (source.find("R\"") != std::string_view::npos) return std::string(source);
  std::string out;
  out.reserve(source.size());
  bool directive = false;
  std::size_t i = 0;
  const std::size_t n = source.size();
  while (i < n) {
    const char c = source[i];
    if (c == '\\' && i + 1 < n && source[i + 1] == '\n') {
      append_gap(out, false, false);
      i += 2;
    } else if (c == '/' && i + 1 < n && source[i + 1] == '/') {
      while (i < n && source[i] != '\n') ++i;
    } else if (c == '/' && i + 1 < n && source[i + 1] == '*') {
      const std::size_t end = source.find("*/", i + 2);
      i = end == std::string_view::npos ? n : end + 2;
      append_gap(out, directive, false);
    } else if (c == '\n') {
      append_gap(out, directive, true);
      directive = false;
      ++i;
    } else if (std::isspace(static_cast<unsigned char>(c))) {
      append_gap(out, directive, false);
      ++i;
    } else if (c == '"' || (c == '\'' && (out.empty() ||
                                          !std::isalnum(static_cast<unsigned char>(out.back()))))) {
      const std::size_t begin = i++;  // a quote after a digit separates digits: no literal
      while (i < n && source[i] != c && source[i] != '\n') i += source[i] == '\\' ? 2 : 1;
      i = i < n ? i + 1 : n;
      out.append(source.substr(begin, i - begin));
    } else {
      if (c == '#' &&
          (out.empty() || out.back() == '\n' || out.back() == ' ' || is_punctuation(out.back()))) {
        directive = true;
        if (!out.empty() && out.back() == ' ') out.back() = '\n';
        if (!out.empty() && out.back() != '\n') out += '\n';
      }
      if (is_punctuation(c) && !out.empty() && out.back() == ' ') out.pop_back();
      out += c;
      ++i;
    }
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '\n')) out.pop_back();
  return out;
}

std::string source_hash(std::string_view source) { return sha256_hex(normalise_source(source)); }

std::string measurement_key(const harness::Triple& candidate, const harness::Triple& baseline,
                            harness::Role role, std::string_view context,
                            std::string_view purpose) {
  Sha256 hash;
  const auto add = [&](std::string_view text) { hash.update(text).update("\0", 1); };
  for (const harness::Triple* triple : {&candidate, &baseline}) {
    for (const harness::ModuleSource* module :
         {&triple->construction, &triple->search, &triple->refinement}) {
      add(source_hash(module->text));
    }
  }
  add(harness::to_string(role));
  add(context);
  add(purpose);
  return hash.hex();
}

}  // namespace crinn::train
