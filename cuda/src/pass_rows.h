// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "crinn/ann/knn_certificate.h"
#include "crinn/base/matrix_view.h"
#include "crinn/gpu/knn.h"

namespace crinn::gpu {

/// The rows of one search as its path reads them: [row_bytes] each, with the terms of their bounds.
class PassRows {
 public:
  virtual ~PassRows() = default;
  virtual KnnPath path() const = 0;
  /// A multiple of 32 on the tensor-core paths; what lies beyond the dimensions is zero.
  virtual int64_t row_bytes() const = 0;
  /// Encodes base row i. low = NaN where the path does not hold the row.
  virtual ann::KnnRow base_row(int64_t i, uint8_t* out) const = 0;
  /// Encodes query q. slope = NaN where the path does not hold it.
  virtual ann::KnnQuery query_row(int64_t q, uint8_t* out) const = 0;
};

/// What a device can do, for the planner.
struct DeviceTraits {
  int major = 0, minor = 0;
};

/// The rows, and which path they are for and why.
struct KnnPlan {
  std::unique_ptr<PassRows> rows;
  std::string reason;
};

/// Chooses by device, data, dimensions and k: integers where the data are whole numbers of a span
/// of 256, else fp16 unless much of the data lies beyond it, else fp32, which runs anywhere.
/// `asked` other than kAuto is obeyed or refused. Borrows both matrices. Throws Error (device)
/// where the device or the data cannot take the path, Error (usage) that names a row with NaN or
/// Inf.
KnnPlan plan_knn(const DeviceTraits& device, MatrixView<const float> queries,
                 MatrixView<const float> base, ann::Metric metric, int k, KnnPath asked,
                 int threads);

/// What a search has in device memory, in rows and queries at a time.
struct KnnMemory {
  int64_t tile_queries = 0, chunk_rows = 0;
};

/// The sizes that memory depends on. `product_rows`: products that are written out for each query
/// of a tile, 0 where they stay in registers.
struct KnnSizes {
  int64_t queries = 0, rows = 0, d = 0, k = 0;
  int64_t row_bytes = 0, product_rows = 0;
};

/// Fits tiles and chunks into `budget` bytes. Throws Error (usage) that names the least where it is
/// too small.
KnnMemory plan_memory(int64_t budget, const KnnSizes& sizes);

}  // namespace crinn::gpu
