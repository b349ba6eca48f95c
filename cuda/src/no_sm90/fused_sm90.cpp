// SPDX-License-Identifier: Apache-2.0
#include "../fused_sm90.h"

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

[[noreturn]] void refuse(const char* operation) {
  throw Error(
      ErrorCategory::kDevice,
      std::string(operation) + ": this build has no code for sm_90 (CMAKE_CUDA_ARCHITECTURES)");
}

}  // namespace

bool fused_sm90_built() { return false; }

void launch_fused_sm90(const FusedPass&, bool) { refuse("gpu::launch_fused_sm90"); }

std::vector<float> products_sm90(std::span<const uint8_t>, std::span<const uint8_t>, int64_t,
                                 bool) {
  refuse("gpu::products_sm90");
}

}  // namespace crinn::gpu
