// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/distances.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "crinn/base/error.h"
#include "crinn/gpu/distances.h"
#include "crinn/gpu/knn.h"

namespace crinn::eval {
namespace {

/// Terms that a core computes while a device starts, and while a device takes one value of the
/// base.
constexpr double kWorthStarting = 0x1p30, kWorthTaking = 16;

}  // namespace

std::vector<double> exact_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                    ann::Metric metric, std::span<const int64_t> ids, int64_t k,
                                    int threads) {
  std::vector<int64_t> rows(ids.begin(), ids.end());
  for (int64_t& id : rows) {
    if (id >= base.rows) id = -1;
  }
  const double terms = static_cast<double>(ids.size()) * static_cast<double>(base.cols);
  const double values = static_cast<double>(base.rows) * static_cast<double>(base.cols);
  if (terms >= std::max(kWorthStarting, kWorthTaking * values) && gpu::device_status().available) {
    try {
      return gpu::gathered_distances(queries, base, metric, rows, k);
    } catch (const Error& error) {  // nobody asked for the device: it may be somebody else's
      if (error.category() != ErrorCategory::kDevice) throw;
      spdlog::warn("exact_distances: on the CPU, because {}", error.what());
    }
  }
  return ann::gathered_distances(queries, base, metric, rows, k, threads);
}

}  // namespace crinn::eval
