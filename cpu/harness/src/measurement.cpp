// SPDX-License-Identifier: Apache-2.0
#include "crinn/harness/measurement.h"

namespace crinn::harness {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kConstruction: return "construction";
    case Role::kSearch: return "search";
    case Role::kRefinement: return "refinement";
  }
  return "unknown";
}

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::kExtract: return "extract";
    case Stage::kScreen: return "screen";
    case Stage::kSyntax: return "syntax";
    case Stage::kCompile: return "compile";
    case Stage::kSmoke: return "smoke";
    case Stage::kSweep: return "sweep";
    case Stage::kRace: return "race";
    case Stage::kDone: return "done";
  }
  return "unknown";
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kNoCode: return "no code";
    case Outcome::kBanned: return "banned";
    case Outcome::kDoesNotCompile: return "does not compile";
    case Outcome::kCrashed: return "crashed";
    case Outcome::kTimedOut: return "timed out";
    case Outcome::kWrong: return "wrong";
    case Outcome::kLowRecall: return "low recall";
    case Outcome::kOverCap: return "over a cap";
    case Outcome::kValid: return "valid";
  }
  return "unknown";
}

std::string_view to_string(NoiseGrade grade) {
  switch (grade) {
    case NoiseGrade::kQuiet: return "quiet";
    case NoiseGrade::kNoisy: return "noisy";
    case NoiseGrade::kUnusable: return "unusable";
  }
  return "unknown";
}

ModuleSource& Triple::at(Role role) {
  return const_cast<ModuleSource&>(static_cast<const Triple*>(this)->at(role));
}

const ModuleSource& Triple::at(Role role) const {
  if (role == Role::kConstruction) return construction;
  return role == Role::kSearch ? search : refinement;
}

}  // namespace crinn::harness
