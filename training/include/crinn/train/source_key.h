// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "crinn/harness/measurement.h"

namespace crinn::train {

/// The source without comments and with whitespace collapsed: what decides whether two candidates
/// are the same program. Line ends of preprocessor lines are kept.
std::string normalise_source(std::string_view source);

/// SHA-256 of the normalised source.
std::string source_hash(std::string_view source);

/// The key under which a measurement is found again: the candidate's three normalised sources, the
/// role that varies, the baseline's sources, everything else that decides a measurement (`context`:
/// data set, options of the judge, machine), and the purpose ("race", "verify-1", "confirm").
std::string measurement_key(const harness::Triple& candidate, const harness::Triple& baseline,
                            harness::Role role, std::string_view context, std::string_view purpose);

}  // namespace crinn::train
