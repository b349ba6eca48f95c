// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <filesystem>

#include "crinn/eval/dataset.h"

namespace crinn::eval {

/// ann::Metric's distance as ann-benchmarks publishes it: L2 not squared, 1 - cos, minus the inner
/// product.
inline double published_distance(double distance, ann::Metric metric) {
  switch (metric) {
    case ann::Metric::kL2: return std::sqrt(distance);
    case ann::Metric::kCosine: return distance / 2;
    case ann::Metric::kInnerProduct: break;
  }
  return distance;
}

/// Datasets neighbors and distances only.
void write_hdf5_truth(const GroundTruth& truth, ann::Metric metric,
                      const std::filesystem::path& path);

}  // namespace crinn::eval
