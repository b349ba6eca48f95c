// SPDX-License-Identifier: Apache-2.0
#include "../reference_knn.h"

#include "../shards.h"
#include "crinn/base/error.h"

namespace crinn::gpu {

Neighbors reference_knn(MatrixView<const float> queries, MatrixView<const float> base, ann::Metric,
                        int k, const ReferenceOptions& options) {
  check_knn(queries, base, k, {{options.device}, options.memory_bytes});
  throw Error(ErrorCategory::kDevice, "gpu::reference_knn: " + device_status().reason);
}

}  // namespace crinn::gpu
