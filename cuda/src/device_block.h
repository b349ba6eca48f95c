// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include "crinn/ann/exact_distance.h"

namespace crinn::gpu {

/// The threads of a CUDA block, as block_select.h takes them.
struct DeviceBlock {
  int rank, size;
  CRINN_HOST_DEVICE void sync() const {
#if defined(__CUDA_ARCH__)
    __syncthreads();
#endif
  }
  CRINN_HOST_DEVICE int add(int* counter, int value) const {
#if defined(__CUDA_ARCH__)
    return atomicAdd(counter, value);
#else
    return *counter += value;  // never called: a device block exists on the device only
#endif
  }
};

}  // namespace crinn::gpu
