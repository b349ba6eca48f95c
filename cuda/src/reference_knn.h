// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"
#include "crinn/gpu/knn.h"

namespace crinn::gpu {

struct ReferenceOptions {
  int device = 0;
  /// Device memory to use, in bytes. 0: nine tenths of what is free.
  int64_t memory_bytes = 0;
};

/// exact_knn() by the shortest way, which shares no selection with it: cuBLAS, RAFT's select_k, a
/// certificate, exact distances (see reference_search.h). What the fast paths are held against, in
/// tests and in benchmarks. The same neighbours, bit for bit, on one device from host memory.
/// Throws Error (device) without a device or RAFT, Error (usage) as exact_knn() does.
Neighbors reference_knn(MatrixView<const float> queries, MatrixView<const float> base,
                        ann::Metric metric, int k, const ReferenceOptions& options = {});

}  // namespace crinn::gpu
