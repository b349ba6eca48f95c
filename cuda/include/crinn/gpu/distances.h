// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/knn_distances.h"
#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"

namespace crinn::gpu {

/// Distances of all pairs [nq, n], ann::Metric's, from queries [nq, d] and base [n, d] in host
/// memory; the same bits as ann::pairwise_distances(). Base goes through the device in chunks that
/// fit. Throws Error (device) without a device, Error (usage) where the dimensions differ.
std::vector<float> pairwise_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                      ann::Metric metric, ann::Precision precision);

/// Exact distances [nq, k] of query i to the base rows that ids [nq, k] names; +inf where an id is
/// below 0. The same bits as ann::gathered_distances(). Throws Error (device) without a device,
/// Error (usage) on other dimensions or an id beyond the base, which is named.
std::vector<double> gathered_distances(MatrixView<const float> queries,
                                       MatrixView<const float> base, ann::Metric metric,
                                       std::span<const int64_t> ids, int64_t k);

}  // namespace crinn::gpu
