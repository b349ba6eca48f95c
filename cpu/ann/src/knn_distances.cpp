// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/knn_distances.h"

#include <limits>
#include <string>

#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {

void check_distances(MatrixView<const float> queries, MatrixView<const float> base,
                     std::span<const int64_t> ids, int64_t k, const char* operation) {
  const auto refuse = [&](const std::string& message) {
    throw Error(ErrorCategory::kUsage, std::string(operation) + ": " + message);
  };
  if (queries.rows > 0 && base.rows > 0 && queries.cols != base.cols) {
    refuse("base has " + std::to_string(base.cols) + " dimensions, queries have " +
           std::to_string(queries.cols));
  }
  if (!ids.empty() && static_cast<int64_t>(ids.size()) != queries.rows * k) {
    refuse(std::to_string(ids.size()) + " ids for " + std::to_string(queries.rows) +
           " queries times " + std::to_string(k));
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < base.rows) continue;
    refuse("query " + std::to_string(static_cast<int64_t>(i) / k) + " names row " +
           std::to_string(ids[i]) + ", but the base has " + std::to_string(base.rows) + " rows");
  }
}

std::vector<float> pairwise_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                      Metric metric, Precision precision, int threads) {
  check_distances(queries, base, {}, 0, "pairwise_distances");
  std::vector<float> distances(static_cast<std::size_t>(queries.rows * base.rows));
  parallel_for(threads, queries.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      for (int64_t i = 0; i < base.rows; ++i) {
        distances[static_cast<std::size_t>(q * base.rows + i)] =
            distance_in(precision, queries.row(q), base.row(i), base.cols, metric);
      }
    }
  });
  return distances;
}

std::vector<double> gathered_distances(MatrixView<const float> queries,
                                       MatrixView<const float> base, Metric metric,
                                       std::span<const int64_t> ids, int64_t k, int threads) {
  check_distances(queries, base, ids, k, "gathered_distances");
  std::vector<double> distances(ids.size(), std::numeric_limits<double>::infinity());
  parallel_for(threads, queries.rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * k; at < end * k; ++at) {
      const int64_t id = ids[static_cast<std::size_t>(at)];
      if (id < 0) continue;
      distances[static_cast<std::size_t>(at)] =
          exact_distance(queries.row(at / k), base.row(id), base.cols, metric);
    }
  });
  return distances;
}

}  // namespace crinn::ann
