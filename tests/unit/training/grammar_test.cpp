// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/grammar.h"

#include <gtest/gtest.h>

#include <string>

#include "crinn/base/error.h"

namespace crinn::train {
namespace {

constexpr const char* kToy = R"(# a comment
module:
  | only -> shape size lines:size
    words: draws a ${shape.name}
    include: <vector>
    text:
      // Derivation:
      ${@derivation}
      ${@words}
      ${@includes}

      struct Drawing {
        ${shape.member}
        ${shape.extra}

        int size = ${size};
        void draw() {
          ${shape}
        }
      };

shape:
  | circle
    name: circle
    include: "circle.h"
    text: circle(${thing});
  | box -> corner
    name: box with ${corner} corners
    member: int width = 0;
    extra:
      int height = 0;
      int depth = 0;
    include:
      "box.h"
      "circle.h"
    text:
      if (width) {
        box(width);
      }

size = 1 2 4
corner = round sharp

example plain: shape=circle
  size=2 size=4
)";

std::string toy() {
  std::string text = kToy;
  text.replace(text.find("circle(${thing})"), 16, "circle()");
  return text;
}

std::string error_of(const std::string& text) {
  try {
    Grammar::parse(text, "toy.grammar");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Grammar, CountsItsDerivationsExactly) {
  const Grammar grammar = Grammar::parse(toy(), "toy.grammar");
  EXPECT_EQ(grammar.count(), "27");  // (circle + box with 2 corners) x 3 x 3
  EXPECT_NEAR(grammar.log10_count(), 1.4314, 1e-3);
  EXPECT_EQ(grammar.max_choices(), 4);
}

TEST(Grammar, WeightsBelongToAlternatives) {
  const Grammar grammar = Grammar::parse("m:\n  | a 0.25\n  | b -> x\nx = 1 2\n", "toy.grammar");
  EXPECT_EQ(grammar.rules()[0].productions[0].weight, 0.25);
  EXPECT_EQ(grammar.rules()[0].productions[1].weight, 1);
  EXPECT_EQ(grammar.count(), "3");  // a weight forbids nothing
}

TEST(Grammar, TextFormParsesBack) {
  const Grammar grammar = Grammar::parse(toy(), "toy.grammar");
  const std::string text = "shape=box corner=sharp size=1 size=4";
  const Derivation tree = grammar.parse_text(text);
  EXPECT_EQ(grammar.to_text(tree), text);
  EXPECT_EQ(grammar.tree(grammar.choices(tree)), tree);
  EXPECT_EQ(grammar.to_text(grammar.example("plain")), "shape=circle size=2 size=4");
}

TEST(Grammar, RefusesTextThatIsNoDerivationAndNamesTheWord) {
  const Grammar grammar = Grammar::parse(toy(), "toy.grammar");
  const auto error = [&](const char* text) -> std::string {
    try {
      grammar.parse_text(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(error("shape=ring").find("'shape=ring' stands where shape= one of circle box"),
            std::string::npos);
  EXPECT_NE(error("shape=circle size=2").find("'the end' stands where size="), std::string::npos);
  EXPECT_NE(error("shape=circle size=2 size=4 size=1").find("'size=1' follows"), std::string::npos);
  EXPECT_NE(error("shape=box size=2").find("corner= one of round sharp"), std::string::npos);
}

TEST(Grammar, RendersWhatTheDerivationUsesAndNothingElse) {
  const Grammar grammar = Grammar::parse(toy(), "toy.grammar");
  EXPECT_EQ(grammar.render(grammar.parse_text("shape=box corner=sharp size=1 size=4")),
            R"(// Derivation:
//   shape=box corner=sharp size=1 size=4
// - draws a box with sharp corners
#include <vector>

#include "box.h"
#include "circle.h"

struct Drawing {
  int width = 0;
  int height = 0;
  int depth = 0;

  int size = 1;
  void draw() {
    if (width) {
      box(width);
    }
  }
};
)");
  EXPECT_EQ(grammar.render(grammar.example("plain")), R"(// Derivation:
//   shape=circle size=2 size=4
// - draws a circle
#include <vector>

#include "circle.h"

struct Drawing {
  int size = 2;
  void draw() {
    circle();
  }
};
)");
}

TEST(Grammar, ReportsFaultsWithFileAndLine) {
  EXPECT_NE(error_of(kToy).find("toy.grammar:26: ${thing}: 'thing' is no child"), std::string::npos)
      << error_of(kToy);
  EXPECT_NE(error_of("m:\n  | a -> x\n").find("toy.grammar:2: 'x' is not defined"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a\nx = 1 2\n").find("toy.grammar:3: rule 'x' cannot be reached"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a -> x\nx:\n").find("toy.grammar:3: rule 'x' is not productive"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a -> x\nx:\n  | b -> m\n").find("derives itself: m -> x -> m"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a -> m\n").find("derives itself: m -> m"), std::string::npos);
  EXPECT_NE(error_of("m:\n  | a\n  | a\n").find("toy.grammar:3: rule 'm' has an alternative 'a'"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a\nm = 1\n").find("rule 'm' is defined in line 1"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a -> x x\nx = 1\n").find("two children are called 'x'"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a -> x\n    text: ${x.no}\nx = 1\n").find("has a part 'no'"),
            std::string::npos);
  EXPECT_NE(error_of("m:\n  | a\n     text: b\n").find("toy.grammar:3: "), std::string::npos);
  EXPECT_NE(error_of("m:\n  | a 0\n").find("toy.grammar:2: '0' is no weight"), std::string::npos);
  EXPECT_NE(error_of("nonsense\n").find("toy.grammar:1: expected"), std::string::npos);
  EXPECT_NE(error_of("m:\n  | a\nexample e: m=a\n").find("toy.grammar:3: example 'e'"),
            std::string::npos);
}

}  // namespace
}  // namespace crinn::train
