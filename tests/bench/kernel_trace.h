// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace crinn::bench {

/// All launches of one kernel.
struct KernelTime {
  std::string name;  ///< without template arguments and parameters
  double seconds = 0;
  int64_t launches = 0;
};

/// What ran on the device, whoever launched it: the longest first.
struct KernelTrace {
  std::vector<KernelTime> kernels;
  std::string missing;  ///< why nothing was recorded; else empty
  double seconds() const;
};

/// Records the kernels that run while body() does, by CUPTI. Slows it down a little: not for timing
/// body() as a whole.
KernelTrace trace_kernels(const std::function<void()>& body);

}  // namespace crinn::bench
