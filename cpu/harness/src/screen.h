// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "crinn/harness/measurement.h"

namespace crinn::harness {

/// What the screen says about one module's text.
struct Screened {
  Outcome outcome = Outcome::kValid;  ///< kValid, kNoCode or kBanned
  std::string evidence;               ///< "line 12: ..." where it is not valid
  std::string type;                   ///< "crinn::ann::NAME::Search"
};

/// Finds the module's namespace and struct (kNoCode where there is none).
Screened identify(const ModuleSource& source);

/// A first filter against constructs that no module needs; cheap, early, and with a message that a
/// policy can learn from. Isolation does not rest on it.
Screened screen(const ModuleSource& source);

/// The text with comments, string and character literals blanked (lines keep their numbers) and
/// continued lines joined.
std::string strip_comments_and_literals(std::string_view text);

}  // namespace crinn::harness
