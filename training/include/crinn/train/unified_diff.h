// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace crinn::train {

/// What `patch` reads: hunks of `from` -> `to` with `context` lines around each change, from a
/// longest common subsequence of lines. Empty where the texts are equal.
std::string unified_diff(std::string_view from, std::string_view to, std::string_view from_name,
                         std::string_view to_name, int context = 3);

}  // namespace crinn::train
