// SPDX-License-Identifier: Apache-2.0
#include "screen.h"

#include <gtest/gtest.h>

namespace crinn::harness {
namespace {

Screened screen_text(const std::string& text, Role role = Role::kSearch) {
  return screen({role, "test", text});
}

std::string with(const std::string& head, const std::string& body = "") {
  return "#pragma once\n" + head + "\nnamespace crinn::ann::mine {\nstruct Search { " + body +
         " };\n}\n";
}

TEST(Screen, FindsTheTypeByRole) {
  EXPECT_EQ(screen_text(with("")).type, "crinn::ann::mine::Search");
  EXPECT_EQ(screen_text("namespace crinn::ann::a1 {\nclass Construction final {\n};\n}\n",
                        Role::kConstruction)
                .type,
            "crinn::ann::a1::Construction");
  EXPECT_EQ(screen_text("namespace crinn::ann::x { struct alignas(64) Refinement : Base {}; }",
                        Role::kRefinement)
                .type,
            "crinn::ann::x::Refinement");
}

TEST(Screen, SaysWhichCodeIsMissing) {
  EXPECT_EQ(screen_text("").outcome, Outcome::kNoCode);
  EXPECT_EQ(screen_text("namespace crinn::ann::x { struct Refinement {}; }").outcome,
            Outcome::kNoCode);
  EXPECT_EQ(screen_text("struct Search {};").outcome, Outcome::kNoCode);
  EXPECT_EQ(screen_text("// struct Search { in a comment\n").outcome, Outcome::kNoCode);
  EXPECT_EQ(screen_text("namespace crinn::ann::x { struct Search; }").outcome, Outcome::kNoCode);
}

class Banned : public ::testing::TestWithParam<const char*> {};

TEST_P(Banned, IsRefusedWithItsLine) {
  const Screened seen = screen_text(with(GetParam()));
  EXPECT_EQ(seen.outcome, Outcome::kBanned) << GetParam();
  EXPECT_NE(seen.evidence.find("line "), std::string::npos) << seen.evidence;
}

INSTANTIATE_TEST_SUITE_P(
    Constructs, Banned,
    ::testing::Values(
        "#include <thread>", "#include <fstream>", "#include \"/etc/passwd\"",
        "#include \"../module.h\"", "#include \"crinn/ann/toolbox/../../x.h\"",
        "#include \"crinn/harness/judge.h\"", "#include \"crinn/ann/modules/baseline/search.h\"",
        "#include CRINN_FILE", "#include /**/ <fstream>", "#include \\\n<fstream>",
        "# /* */ include <fstream>", "/* */ #include <fstream>", "%:include <fstream>",
        "?\?=include <fstream>", "#include_next <vector>", "#import <vector>", "#line 1 \"x\"",
        "#pragma GCC optimize(\"O0\")", "#pragma GCC system_header", "#pragma omp parallel",
        "#define int long", "#define __GNUC__ 3", "#define CAT(a, b) a##b",
        "#if __has_include(\"/etc/passwd\")\n#endif", "asm(\"nop\");",
        "void f() { __asm__(\"\"); }", "extern \"C\" int system(const char*);",
        "int x = system(\"ls\");", "__attribute__((constructor)) void f();",
        "[[gnu::constructor]] void f();", "const char* f = __FILE__;", "thread_local int x;",
        "void f() { std::abort (); }", "int f() { return __builtin_trap(), 0; }",
        "long f() { return __builtin_ia32_rdtsc(); }", "long f() { return __rdtsc(); }",
        "int \\u0061;", "int \xC3\xA9;", "a\\\nsm(\"nop\");", "_Pragma(\"once\")",
        "int x = fo\\\nrk();",
        "#define XR\nconst char* a = XR\"(\"; void f() { fork(); } const char* b = XR\")\";",
        "auto c = L'\"'; void f() { fork(); } auto d = L'\"';",
        "const char* a = \"x\\\ny\";\n#include <fstream>", "namespace crinn::harness {}",
        "void f() { ::exit(0); }", "\x01"));

class Allowed : public ::testing::TestWithParam<const char*> {};

TEST_P(Allowed, Passes) {
  const Screened seen = screen_text(with(GetParam()));
  EXPECT_EQ(seen.outcome, Outcome::kValid) << GetParam() << ": " << seen.evidence;
}

INSTANTIATE_TEST_SUITE_P(
    Constructs, Allowed,
    ::testing::Values("#include <vector>", "#include <algorithm>  // std::sort",
                      "#include \"crinn/ann/module.h\"", "#include \"crinn/ann/toolbox/pool.h\"",
                      "// asm, system(\"rm\"), #include <fstream>", "/* extern \"C\"\n fork() */",
                      "const char* text = \"asm extern #include <x> \\\" fork()\";",
                      "const char* raw = R\"x(asm(\"nop\") )\" fork()\n)x\";",
                      "#define LIKELY(x) __builtin_expect(x, 1)", "#pragma GCC unroll 4",
                      "#if 1\n#elif 0\n#else\n#endif", "[[nodiscard]] inline int f();",
                      "[[gnu::always_inline]] inline void f();", "inline int n = 1'000'000;",
                      "inline char c = '\"';", "inline int open = 1, time = open, exit = time;",
                      "// \xC3\xA9 in a comment", "inline int a[2]; inline int b = a[a[0]];",
                      "void f(const float* p) { __builtin_prefetch(p); }"));

TEST(Screen, BoundsSizeAndLines) {
  EXPECT_EQ(screen_text(with(std::string(70000, ' '))).outcome, Outcome::kBanned);
  EXPECT_EQ(screen_text(with(std::string(301, '\n'))).outcome, Outcome::kBanned);
  EXPECT_EQ(screen_text(with(std::string(280, '\n'))).outcome, Outcome::kValid);
}

TEST(Strip, KeepsLineNumbers) {
  const std::string text = "a /* x\ny */ b\nc \\\n d\n\"e\\\"f\" // g\nR\"(1\n2)\" h\n";
  const std::string code = strip_comments_and_literals(text);
  EXPECT_EQ(std::count(code.begin(), code.end(), '\n'), std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(code.find('x'), std::string::npos);
  EXPECT_EQ(code.find('e'), std::string::npos);
  EXPECT_EQ(code.find('g'), std::string::npos);
  EXPECT_NE(code.find("c  d"), std::string::npos);
  EXPECT_NE(code.find('h'), std::string::npos);
}

}  // namespace
}  // namespace crinn::harness
