// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace crinn::harness {

/// Where everything lies that turns source text into a running module: the build tree by
/// default, an install tree below $CRINN_PREFIX or beside the running program otherwise.
struct Toolchain {
  std::string compiler;                                ///< $CRINN_CXX, or the one of the build
  std::string bubblewrap;                              ///< bwrap
  std::string arch;                                    ///< of -march=
  std::vector<std::filesystem::path> include_folders;  ///< crinn/base, crinn/ann, the module ABI
  std::vector<std::filesystem::path> libraries;        ///< linked into every module
  std::filesystem::path worker;                        ///< crinn-worker
  std::filesystem::path modules;                       ///< crinn/ann/modules
};

/// Found once. Throws Error (usage) that names what is missing and which variable moves it.
const Toolchain& toolchain();

/// Compiler version, flags of a judged module, and the content of all headers and libraries that
/// go into one: changes whenever a compiled module may change.
const std::string& toolchain_hash();

/// The flags that modules are compiled with.
std::vector<std::string> compile_flags();

/// "AMD EPYC; Linux 6.1; g++ 12.2; -O3 -march=native".
std::string machine_fingerprint();

}  // namespace crinn::harness
