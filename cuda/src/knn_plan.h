// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "crinn/ann/knn_frame.h"
#include "crinn/gpu/knn.h"

namespace crinn::gpu {

/// What a device can do, for the planner.
struct DeviceTraits {
  int major = 0, minor = 0;
};

/// Rows of a matrix that plans are made by; more tell nothing new.
inline constexpr int64_t kPlanRows = 1 << 16;

/// The step between rows of a sample of at most kPlanRows of `rows`, and 2^30 values.
inline int64_t plan_step(int64_t rows, int64_t cols) {
  const int64_t most =
      std::clamp<int64_t>((int64_t{1} << 30) / std::max<int64_t>(cols, 1), 1, kPlanRows);
  return std::max<int64_t>((rows + most - 1) / most, 1);
}

/// The path, why it was taken, and how it encodes rows.
struct KnnPlan {
  KnnPath path = KnnPath::kFp32;
  std::string reason;
  std::vector<double> mean;  ///< [d]; empty for kInteger
  ann::KnnEncoder encoder;   ///< its mean is not set
};

/// Thrown where the pass does not hold many of the rows that the sample did not show. They would be
/// compared exactly, so that only time is at stake.
struct PlanMissed {};

/// Whether so many rows of `seen` are left out by the pass that another path is better.
constexpr bool too_many_left_out(int64_t left_out, int64_t seen) {
  return left_out > seen / 64 + 1024;
}

/// Chooses by device, data, dimensions and k: integers where the sample is whole numbers of a span
/// of 256, else fp16 unless much of it lies beyond it, else fp32, which runs anywhere. `asked`
/// other than kAuto is obeyed or refused; `given_up`, where PlanMissed ended a search, rules out
/// that path and the faster ones. Throws Error (device) where the device or the data
/// cannot take the path, Error (usage) that names a row with NaN or Inf.
KnnPlan plan_knn(const DeviceTraits& device, const ann::KnnSample& queries,
                 const ann::KnnSample& base, ann::Metric metric, int k, KnnPath asked, int threads,
                 KnnPath given_up = KnnPath::kAuto);

/// What a search has in device memory, in rows and queries at a time.
struct KnnMemory {
  int64_t tile_queries = 0, chunk_rows = 0;
  int buffers = 1;    ///< for chunks: 2 where one is loaded while another is searched
  int64_t bytes = 0;  ///< all together
};

/// The sizes that memory depends on. `product_rows`: products that are written out for each query
/// of a tile, 0 where they stay in registers. `staging_bytes`: rows of another type on their way.
struct KnnSizes {
  int64_t queries = 0, rows = 0, d = 0, k = 0;
  int64_t row_bytes = 0, product_rows = 0, staging_bytes = 0;
};

/// Fits tiles and chunks into `budget` bytes. Throws Error (usage) that names the least where it is
/// too small.
KnnMemory plan_memory(int64_t budget, const KnnSizes& sizes);

}  // namespace crinn::gpu
