// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/error.h"
#include "crinn/gpu/comm.h"

namespace crinn::gpu {

std::unique_ptr<Comm> make_nccl_comm(const Launch&, int, const CommTimeouts&) {
  throw Error(ErrorCategory::kDevice,
              "make_nccl_comm: this build has no NCCL (configured with CRINN_CUDA=OFF or "
              "CRINN_NCCL=OFF, or nvcc or nccl.h was not found)");
}

}  // namespace crinn::gpu
