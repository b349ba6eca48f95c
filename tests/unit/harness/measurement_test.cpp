// SPDX-License-Identifier: Apache-2.0
#include "crinn/harness/measurement.h"

#include <gtest/gtest.h>

#include "crinn/base/error.h"

namespace crinn::harness {
namespace {

Measurement full() {
  Measurement m;
  m.outcome = Outcome::kOverCap;
  m.stage = Stage::kRace;
  m.evidence = "line 1\n\"quoted\"";
  const RacePoint point{20, 0.91, 1.25e-5, 11, 12, 13.5, 345.5, 6};
  m.instances = {{{point}, {point, point}}, {{}, {point}}};
  m.baseline_cost = {1.5, 2e6};
  m.candidate_cost = {2.5, 3e6};
  m.layers = {"userns", "seccomp"};
  m.machine = "cpu; kernel";
  m.baseline_version = "abc";
  m.noise = NoiseGrade::kUnusable;
  m.steal_fraction = 0.125;
  m.judge_seconds = 9.5;
  m.prove_seconds = 2.5;
  m.sweep_seconds = 3;
  m.race_seconds = 4;
  m.seed = 0xFFFFFFFFFFFFFFFFull;
  return m;
}

TEST(MeasurementJson, ComesBackAsItWas) {
  const std::string json = to_json(full());
  const Measurement back = measurement_from_json(json);
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(back.outcome, Outcome::kOverCap);
  EXPECT_EQ(back.instances[0].candidate.size(), 2u);
  EXPECT_EQ(back.instances[1].candidate[0].ef, 20);
  EXPECT_EQ(back.seed, 0xFFFFFFFFFFFFFFFFull);
  EXPECT_EQ(back.evidence, full().evidence);
  EXPECT_EQ(back.race_seconds, 4);
}

TEST(MeasurementJson, SurvivesBytesThatAreNoText) {
  Measurement m = full();
  m.evidence = "\xFF\xFE";
  EXPECT_NO_THROW(measurement_from_json(to_json(m)));
}

TEST(MeasurementJson, RefusesAnythingElse) {
  std::string unknown = to_json(full());
  unknown.replace(unknown.find("over a cap"), 10, "over a cat");
  for (const std::string& text :
       {std::string("{}"), std::string("[1"), std::string("null"), unknown}) {
    EXPECT_THROW(measurement_from_json(text), Error) << text;
  }
}

TEST(Triple, IsAddressedByRole) {
  Triple triple;
  triple.at(Role::kSearch).name = "s";
  triple.at(Role::kRefinement).name = "r";
  EXPECT_EQ(triple.search.name, "s");
  EXPECT_EQ(triple.refinement.name, "r");
  EXPECT_EQ(to_string(Role::kConstruction), "construction");
}

}  // namespace
}  // namespace crinn::harness
