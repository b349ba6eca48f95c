// SPDX-License-Identifier: Apache-2.0
#include "screen.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <regex>

namespace crinn::harness {
namespace {

constexpr std::size_t kMaxBytes = 64 * 1024;
constexpr int kMaxLines = 300;
constexpr std::size_t kMaxColumns = 1000;

constexpr std::array kStandardHeaders = {"algorithm", "array",       "bit",     "cmath",  "cstddef",
                                         "cstdint",   "cstring",     "limits",  "memory", "numeric",
                                         "span",      "type_traits", "utility", "vector"};

// Identifiers that no module needs. Kernel and libc entry points among them are out of reach
// anyway (no header declares them); a declaration by hand would need `extern`.
constexpr std::array kBannedWords = {"asm",           "__asm",           "__asm__",
                                     "extern",        "syscall",         "vfork",
                                     "execve",        "popen",           "dlopen",
                                     "dlsym",         "mprotect",        "ptrace",
                                     "quick_exit",    "atexit",          "getenv",
                                     "setenv",        "sigaction",       "setjmp",
                                     "longjmp",       "jthread",         "pthread_create",
                                     "fopen",         "freopen",         "ifstream",
                                     "ofstream",      "fstream",         "FILE",
                                     "printf",        "fprintf",         "cout",
                                     "cerr",          "chrono",          "clock_gettime",
                                     "gettimeofday",  "random_device",   "__rdtsc",
                                     "_rdtsc",        "__rdtscp",        "thread_local",
                                     "__attribute__", "__attribute",     "__declspec",
                                     "_Pragma",       "__FILE__",        "__DATE__",
                                     "__TIME__",      "__TIMESTAMP__",   "__COUNTER__",
                                     "__BASE_FILE__", "__has_include",   "__has_include_next",
                                     "__has_embed",   "co_await",        "co_yield",
                                     "co_return",     "harness",         "Pipeline",
                                     "PipelineGlue",  "ConstructionGlue"};

// The same, but ordinary names unless they are called.
constexpr std::array kBannedCalls = {
    "system", "fork",      "mmap",   "munmap", "kill",   "raise",   "abort", "exit", "_exit",
    "_Exit",  "terminate", "signal", "thread", "async",  "time",    "clock", "rand", "srand",
    "puts",   "write",     "read",   "open",   "socket", "connect", "clone"};

constexpr std::array kBuiltins = {
    "__builtin_prefetch",       "__builtin_expect",   "__builtin_unreachable",
    "__builtin_assume_aligned", "__builtin_popcount", "__builtin_popcountl",
    "__builtin_popcountll",     "__builtin_ctz",      "__builtin_ctzl",
    "__builtin_ctzll",          "__builtin_clz",      "__builtin_clzl",
    "__builtin_clzll",          "__builtin_memcpy",   "__builtin_constant_p"};

constexpr std::array kAttributes = {"nodiscard",          "maybe_unused",      "likely",
                                    "unlikely",           "no_unique_address", "fallthrough",
                                    "gnu::always_inline", "gnu::noinline",     "gnu::hot",
                                    "gnu::flatten",       "gnu::pure"};

template <std::size_t N>
bool contains(const std::array<const char*, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

Screened banned(int line, const std::string& why) {
  return {Outcome::kBanned, fmt::format("line {}: {}", line, why), {}};
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

bool allowed_include(std::string_view target) {
  if (target.size() < 3) return false;
  const std::string_view name = target.substr(1, target.size() - 2);
  if (target.front() == '<' && target.back() == '>') return contains(kStandardHeaders, name);
  if (target.front() != '"' || target.back() != '"') return false;
  if (name == "crinn/ann/module.h") return true;
  static const std::regex toolbox("crinn/ann/toolbox/[a-z0-9_]+\\.h");
  return std::regex_match(name.begin(), name.end(), toolbox);
}

// `line` begins with '#'; `raw` is the same line with its literals.
std::string directive_fault(std::string_view line, std::string_view raw) {
  const std::string_view body = trim(line.substr(1));
  const auto end = std::find_if_not(body.begin(), body.end(), is_word);
  const std::string_view name(body.data(), static_cast<std::size_t>(end - body.begin()));
  const std::string_view rest = trim(body.substr(name.size()));
  if (name == "include") {
    const std::string_view raw_body = trim(trim(raw).substr(1));
    const std::string_view target = trim(raw_body.substr(raw_body.find("include") + 7));
    // A trailing comment is not part of the target.
    const auto close = target.find(target.starts_with('<') ? '>' : '"', 1);
    if (close != std::string_view::npos && allowed_include(target.substr(0, close + 1))) return {};
    return fmt::format("this file may not be included: {}", target);
  }
  if (name == "pragma") {
    static const std::regex harmless("once|GCC +unroll +[0-9]+|GCC +ivdep");
    if (std::regex_match(rest.begin(), rest.end(), harmless)) return {};
    return fmt::format("no pragma but once, GCC unroll and GCC ivdep: {}", rest);
  }
  if (name == "define" || name == "undef") {
    static const std::regex plain("[A-Z][A-Z0-9_]*([^A-Za-z0-9_].*)?");
    if (std::regex_match(rest.begin(), rest.end(), plain)) return {};
    return fmt::format("a macro's name must be upper case: {}", rest);
  }
  if (name == "if" || name == "ifdef" || name == "ifndef" || name == "elif" || name == "else" ||
      name == "endif" || name == "error" || name.empty()) {
    return {};
  }
  return fmt::format("no #{} in a module", name);
}

std::string word_fault(std::string_view word, std::string_view after) {
  const bool called = trim(after).starts_with('(');
  if (contains(kBannedWords, word) || (called && contains(kBannedCalls, word))) {
    return fmt::format("no module may use `{}`", word);
  }
  if (word.starts_with("__builtin_") && !word.starts_with("__builtin_ia32_") &&
      !contains(kBuiltins, word)) {
    return fmt::format("no module may use `{}`", word);
  }
  if (word.starts_with("__builtin_ia32_rd") || word.starts_with("__atomic") ||
      word.starts_with("__sync")) {
    return fmt::format("no module may use `{}`", word);
  }
  return {};
}

std::string attribute_fault(std::string_view line) {
  for (std::size_t at = line.find("[["); at != std::string_view::npos;
       at = line.find("[[", at + 2)) {
    const std::size_t end = line.find("]]", at);
    if (end == std::string_view::npos) continue;  // an index of an index, or wrapped: compiler's
    std::string_view list = line.substr(at + 2, end - at - 2);
    static const std::regex names("[a-z_]+(::[a-z_]+)?");
    for (std::cregex_iterator it(list.data(), list.data() + list.size(), names), none; it != none;
         ++it) {
      // Only what reads like an attribute list: [[a, b]]; a nested index has other characters.
      static const std::regex attribute_list("[a-z_:, ]+");
      if (!std::regex_match(list.begin(), list.end(), attribute_list)) break;
      if (it->str().find("::") != std::string::npos || it->str() == "using") {
        if (!contains(kAttributes, it->str())) {
          return fmt::format("no module may use the attribute [[{}]]", it->str());
        }
      }
    }
  }
  return {};
}

}  // namespace

Screened identify(const ModuleSource& source) {
  Screened result;
  // Blanks in a row are one: the expressions below recurse over them.
  std::string code = strip_comments_and_literals(source.text);
  code.erase(std::unique(code.begin(), code.end(),
                         [](char a, char b) { return is_blank(a) && is_blank(b); }),
             code.end());
  const std::string type = source.role == Role::kConstruction ? "Construction"
                           : source.role == Role::kSearch     ? "Search"
                                                              : "Refinement";
  const std::regex definition("\\b(?:struct|class)\\s+(?:alignas\\s*\\([^)]*\\)\\s*)?" + type +
                              "\\b(?:\\s+final)?\\s*[:{]");
  // The last one: a helper of the same name may come first.
  std::ptrdiff_t at = -1;
  for (std::sregex_iterator it(code.begin(), code.end(), definition), none; it != none; ++it) {
    at = it->position();
  }
  if (at < 0) {
    return {Outcome::kNoCode,
            fmt::format("there is no definition of `struct {}` in the module", type),
            {}};
  }
  static const std::regex space(
      "namespace\\s+crinn\\s*::\\s*ann\\s*::\\s*([A-Za-z][A-Za-z0-9_]*)\\s*\\{");
  std::string name;
  const auto end = code.begin() + at;
  for (std::sregex_iterator it(code.begin(), end, space), none; it != none; ++it) {
    name = (*it)[1];
  }
  if (name.empty()) {
    return {Outcome::kNoCode,
            fmt::format("`struct {}` must be in a namespace crinn::ann::NAME", type),
            {}};
  }
  result.type = "crinn::ann::" + name + "::" + type;
  return result;
}

Screened screen(const ModuleSource& source) {
  const std::string& text = source.text;
  if (text.size() > kMaxBytes) {
    return banned(1, fmt::format("{} bytes, more than {}", text.size(), kMaxBytes));
  }
  const auto lines = std::count(text.begin(), text.end(), '\n');
  if (lines > kMaxLines) return banned(1, fmt::format("{} lines, more than {}", lines, kMaxLines));
  int line_number = 1;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') ++line_number;
    if (byte == 0 || (byte < 32 && c != '\n' && c != '\t' && c != '\r')) {
      return banned(line_number, "a control character");
    }
  }

  const std::string code = strip_comments_and_literals(text);
  // Lines of the original with continuations joined alike, for the targets of #include.
  std::size_t begin = 0;
  std::size_t raw_begin = 0;
  line_number = 0;
  while (begin < code.size()) {
    ++line_number;
    const std::size_t end = std::min(code.find('\n', begin), code.size());
    const std::size_t raw_end = std::min(text.find('\n', raw_begin), text.size());
    const std::string_view line(code.data() + begin, end - begin);
    const std::string_view raw(text.data() + raw_begin, raw_end - raw_begin);
    begin = end + 1;
    raw_begin = std::min(raw_end + 1, text.size());

    if (line.size() > kMaxColumns) {
      return banned(line_number, fmt::format("more than {} columns", kMaxColumns));
    }
    const std::string_view content = trim(line);
    if (content.starts_with('#')) {
      // A directive is written on one plain line: what the filter reads is what the compiler reads.
      if (!trim(raw).starts_with('#') || trim(raw).ends_with('\\')) {
        return banned(line_number, "a preprocessor directive must be on one line of its own");
      }
      const std::string fault = directive_fault(content, raw);
      if (!fault.empty()) return banned(line_number, fault);
      if (trim(content.substr(1)).starts_with("include")) continue;  // judged as a whole
    }
    if (content.find("??") != std::string_view::npos ||
        content.find("%:") != std::string_view::npos || content.find("<:") == 0) {
      return banned(line_number, "no trigraphs or digraphs");
    }
    if (content.find("\\u") != std::string_view::npos ||
        content.find("\\U") != std::string_view::npos ||
        content.find("\\N") != std::string_view::npos) {
      return banned(line_number, "no universal character names");
    }
    if (content.find("##") != std::string_view::npos) {
      return banned(line_number, "no token pasting");
    }
    for (std::size_t i = 0; i < line.size();) {
      if (!is_word(line[i])) {
        if (static_cast<unsigned char>(line[i]) >= 128) {
          return banned(line_number, "only ASCII outside comments and literals");
        }
        ++i;
        continue;
      }
      std::size_t stop = i;
      while (stop < line.size() && is_word(line[stop])) ++stop;
      const std::string fault = word_fault(line.substr(i, stop - i), line.substr(stop));
      if (!fault.empty()) return banned(line_number, fault);
      i = stop;
    }
    const std::string fault = attribute_fault(line);
    if (!fault.empty()) return banned(line_number, fault);
  }
  return identify(source);
}

}  // namespace crinn::harness
