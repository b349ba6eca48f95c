// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "crinn/harness/measurement.h"

namespace crinn::harness::testing {

/// A hostile module: a harmless one with something inserted.
struct Attack {
  const char* name;
  Role role = Role::kSearch;
  const char* prologue = "";  ///< after the includes, at namespace scope
  const char* before = "";    ///< the code of the harmless module that `code` goes before
  const char* code = "";
  Outcome outcome = Outcome::kCrashed;  ///< with the screen off
  const char* evidence = "";            ///< part of it
  bool banned = true;                   ///< the screen alone catches it as well
};

/// What GoogleTest shows of one.
inline void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

/// Attacks at the first query, in a constructor of the library, on the compiler, on the results.
const std::vector<Attack>& attacks();

/// The text of the harmless module with the attack in it.
std::string hostile_text(const Attack& attack, const std::string& harmless);

}  // namespace crinn::harness::testing
