// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/distances.h"

#include <string>

#include "crinn/base/error.h"
#include "crinn/gpu/knn.h"

namespace crinn::gpu {
namespace {

[[noreturn]] void refuse(const char* operation) {
  throw Error(ErrorCategory::kDevice, std::string(operation) + ": " + device_status().reason);
}

}  // namespace

std::vector<float> pairwise_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                      ann::Metric, ann::Precision) {
  ann::check_distances(queries, base, {}, 0, "gpu::pairwise_distances");
  refuse("gpu::pairwise_distances");
}

std::vector<double> gathered_distances(MatrixView<const float> queries,
                                       MatrixView<const float> base, ann::Metric,
                                       std::span<const int64_t> ids, int64_t k) {
  ann::check_distances(queries, base, ids, k, "gpu::gathered_distances");
  refuse("gpu::gathered_distances");
}

}  // namespace crinn::gpu
