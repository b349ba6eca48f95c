// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>
#include <string>

#include "crinn/base/error.h"

namespace crinn::gpu {

inline void check_cuda(cudaError_t status, const char* call,
                       std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // is thrown here, and must not surface at a later launch
  throw Error(
      ErrorCategory::kDevice,
      std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")",
      where);
}

}  // namespace crinn::gpu

/// Throws Error (device) that names the call. After a launch: CRINN_CHECK_CUDA(cudaGetLastError()).
#define CRINN_CHECK_CUDA(call) ::crinn::gpu::check_cuda((call), #call)
