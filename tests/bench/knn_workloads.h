// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "crinn/ann/metric.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/matrix_view.h"
#include "crinn/gpu/knn_matrix.h"

namespace crinn::bench {

/// The shape of a data set and, roughly, its distribution.
struct KnnShape {
  std::string_view name;
  int64_t n = 0, nq = 0, d = 0;
  ann::Metric metric = ann::Metric::kL2;
  bool bytes = false;  ///< whole numbers from 0 to 255; else fp32
};

/// "sift", "gist", "glove", "100m". Throws Error (usage) for another.
KnnShape knn_shape(std::string_view name);

/// Generated vectors in host memory.
class KnnVectors {
 public:
  KnnVectors() = default;
  /// Rows of clusters; of a shape and a stream always the same. Throws std::bad_alloc.
  KnnVectors(const KnnShape& shape, int64_t rows, uint64_t stream);

  /// As they are stored: u8 or fp32.
  gpu::KnnMatrix matrix() const;
  /// In fp32; of bytes only after widen().
  MatrixView<const float> view() const { return {values_.data(), rows_, d_}; }
  void widen();

 private:
  int64_t rows_ = 0, d_ = 0;
  HugeArray<uint8_t> bytes_;
  HugeArray<float> values_;
};

}  // namespace crinn::bench
