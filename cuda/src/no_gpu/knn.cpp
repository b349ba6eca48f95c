// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/knn.h"

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

constexpr const char* kReason =
    "this build has no CUDA back end (configured with CRINN_CUDA=OFF, or nvcc was not found)";

}  // namespace

DeviceStatus device_status(int /*device*/) { return {false, "", kReason}; }

Neighbors exact_knn(const KnnMatrix&, const KnnMatrix&, ann::Metric, int, const KnnOptions&) {
  throw Error(ErrorCategory::kDevice, std::string("gpu::exact_knn: ") + kReason);
}

}  // namespace crinn::gpu
