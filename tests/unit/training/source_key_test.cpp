// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/source_key.h"

#include <gtest/gtest.h>

namespace crinn::train {
namespace {

TEST(NormaliseSource, IgnoresCommentsAndLayout) {
  EXPECT_EQ(normalise_source("int f( int a )  // add\n{\n  return a /* one */ + 1;\n}\n"),
            normalise_source("int f(int a) { return a + 1; }"));
}

TEST(NormaliseSource, KeepsWhatChangesTheProgram) {
  EXPECT_NE(normalise_source("a - -b"), normalise_source("a --b"));
  EXPECT_NE(normalise_source("int a = 12;"), normalise_source("int a = 1 2;"));
  EXPECT_NE(normalise_source("f(\"a  b\")"), normalise_source("f(\"a b\")"));
  EXPECT_NE(normalise_source("f(\"// x\")"), normalise_source("f(\"\")"));
  EXPECT_NE(normalise_source("#define A 1\nint b;"), normalise_source("#define A 1 int b;"));
}

TEST(NormaliseSource, KeepsDigitSeparatorsAndCharacters) {
  EXPECT_EQ(normalise_source("int a = 1'000'000; // x"), "int a = 1'000'000;");
  EXPECT_EQ(normalise_source("char c = '\"'; // \""), "char c = '\"';");
  EXPECT_EQ(normalise_source("char c = '\\''; /* ' */ int a;"), "char c = '\\'';int a;");
}

TEST(NormaliseSource, SurvivesUnterminatedPieces) {
  for (const char* text : {"/* no end", "\"no end", "'", "//", "/", "\\", "#", "x \\\n"}) {
    normalise_source(text);
  }
}

TEST(NormaliseSource, IsIdempotent) {
  const std::string once =
      normalise_source("#pragma once\n#include <array>\n\nstruct A { int b = 1; };  // c\n");
  EXPECT_EQ(normalise_source(once), once);
}

harness::Triple triple(const std::string& search) {
  harness::Triple t;
  t.construction.text = "c";
  t.search.text = search;
  t.refinement.text = "r";
  return t;
}

TEST(MeasurementKey, DependsOnEverythingThatDecidesAMeasurement) {
  const auto key = [](const std::string& candidate, const std::string& baseline,
                      std::string_view context, std::string_view purpose) {
    return measurement_key(triple(candidate), triple(baseline), harness::Role::kSearch, context,
                           purpose);
  };
  const std::string base = key("a", "b", "set", "race");
  EXPECT_EQ(base, key("a  // same", "b", "set", "race"));
  EXPECT_NE(base, key("x", "b", "set", "race"));
  EXPECT_NE(base, key("a", "x", "set", "race"));
  EXPECT_NE(base, key("a", "b", "other", "race"));
  EXPECT_NE(base, key("a", "b", "set", "verify"));
}

}  // namespace
}  // namespace crinn::train
