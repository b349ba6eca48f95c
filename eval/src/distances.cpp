// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/distances.h"

#include "crinn/gpu/distances.h"
#include "crinn/gpu/knn.h"

namespace crinn::eval {
namespace {

/// A core does about 2^28 terms in the time that a device takes to start and to take the base.
constexpr double kWorthADevice = 0x1p30;

}  // namespace

std::vector<double> exact_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                    ann::Metric metric, std::span<const int64_t> ids, int64_t k,
                                    int threads) {
  std::vector<int64_t> rows(ids.begin(), ids.end());
  for (int64_t& id : rows) {
    if (id >= base.rows) id = -1;
  }
  const double terms = static_cast<double>(ids.size()) * static_cast<double>(base.cols);
  if (terms >= kWorthADevice && gpu::device_status().available) {
    return gpu::gathered_distances(queries, base, metric, rows, k);
  }
  return ann::gathered_distances(queries, base, metric, rows, k, threads);
}

}  // namespace crinn::eval
