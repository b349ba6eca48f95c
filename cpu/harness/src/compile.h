// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "crinn/harness/measurement.h"
#include "worker_process.h"

namespace crinn::harness {

/// A module, or search and refinement together, as a loadable object.
struct Compiled {
  std::filesystem::path object;  ///< in the cache
  std::string key;               ///< SHA-256 of everything that went in
};

/// Compiles one generated translation unit in a jail (bubblewrap: /usr and the tree's headers
/// read-only, empty /tmp, no /proc, no network, fixed arguments, limits) and keeps the result in
/// `cache`, which only this process writes. Not for use from several threads at once.
class Compiler {
 public:
  Compiler(std::filesystem::path cache, double deadline_seconds);

  /// kDoesNotCompile carries the compiler's messages, with the header called /src/ROLE.h.
  Expected<Compiled> construction(const ModuleSource& construction);
  Expected<Compiled> pipeline(const ModuleSource& search, const ModuleSource& refinement);

 private:
  Expected<Compiled> compile(std::span<const ModuleSource* const> sources, const std::string& unit);
  /// The precompiled header of the contract and the allowed standard headers.
  const std::filesystem::path& prefix_folder();

  std::filesystem::path cache_;
  double deadline_seconds_;
  std::filesystem::path prefix_folder_;
};

}  // namespace crinn::harness
