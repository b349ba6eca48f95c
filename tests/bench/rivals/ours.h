// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "crinn/harness/judge.h"
#include "system.h"

namespace crinn::bench {

/// A triple, compiled as the judge compiles it (the objects are kept in `cache`); what is returned
/// builds it in this process. Throws Error (data) with the compiler's messages.
std::function<std::unique_ptr<System>(const Problem&)> compile_triple(
    const harness::Triple& triple, int degree, const std::filesystem::path& cache);

}  // namespace crinn::bench
