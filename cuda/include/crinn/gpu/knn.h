// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"

namespace crinn::gpu {

/// What there is to run on. `reason` says in a sentence what is missing when available is false.
struct DeviceStatus {
  bool available = false;
  std::string name;
  std::string reason;
};
DeviceStatus device_status();

/// Exact neighbours [queries, k], nearest first, ties by id; places beyond n hold -1 and +inf.
/// distances are ann::Metric's in fp64, equal bit for bit to the CPU's.
struct Neighbors {
  std::vector<int64_t> ids;
  std::vector<double> distances;
};

/// queries [nq, d], base [n, d] in host memory, k >= 1. Throws Error (device) without a device.
Neighbors exact_knn(MatrixView<const float> queries, MatrixView<const float> base,
                    ann::Metric metric, int k);

}  // namespace crinn::gpu
