// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "crinn/ann/metric.h"

namespace crinn::bench {

/// Exact k-NN over fp32 rows in device memory, which outlive the system.
struct KnnProblem {
  const float* queries = nullptr;  ///< [nq, d]
  const float* base = nullptr;     ///< [n, d]
  int64_t nq = 0, n = 0, d = 0;
  ann::Metric metric = ann::Metric::kL2;
  int k = 0;
};

/// A system under test; what can be prepared of the base is, when it is made.
class KnnSystem {
 public:
  virtual ~KnnSystem() = default;
  /// ids [nq, k] in host memory. Throws Error (device).
  virtual void search(std::span<int64_t> ids) = 0;
};

// Systems of others, and what is missing where this build does not have them (else empty). Making
// one that is missing throws Error (usage).

/// libtorch: a tile of products by matmul, then topk of it, fp32 without TF32.
std::string torch_knn_missing();
std::unique_ptr<KnnSystem> make_torch_knn(const KnnProblem& problem);
/// cuVS's brute force.
std::string cuvs_knn_missing();
std::unique_ptr<KnnSystem> make_cuvs_knn(const KnnProblem& problem);

}  // namespace crinn::bench
