// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"

namespace crinn::eval {

/// Exact distances [nq, k] of query i to the base rows that ids [nq, k] names, +inf where an id is
/// not a row of the base: what reported answers are checked against. Runs on a device where there
/// is one and the work outweighs its start, else on the CPU: the same bits.
std::vector<double> exact_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                    ann::Metric metric, std::span<const int64_t> ids, int64_t k,
                                    int threads);

}  // namespace crinn::eval
