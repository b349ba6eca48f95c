// SPDX-License-Identifier: Apache-2.0
#include "knn_plan.h"

#include <algorithm>
#include <utility>

#include "block_select.h"
#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

constexpr int64_t kTileQueries = 8192;
constexpr int64_t kRowsAtLeast = 4 * kSegment;
constexpr int64_t kSideBytes = int64_t{40} << 20;  // rows that are gathered, scratch of scans

/// Why fp16 would not pay, or nothing: rows that it does not hold are compared exactly with all
/// queries, and long sums leave a bound that excludes little. Counts are of the samples.
std::string against_fp16(const ann::KnnFrame& frame, int64_t n, int64_t nq, int64_t d) {
  constexpr int64_t kMostDimensions = 8192;
  if (d > kMostDimensions) return std::to_string(d) + " dimensions leave fp16 no useful bound";
  if (frame.base_beyond > n / 256 + 8) {
    return std::to_string(frame.base_beyond) + " of " + std::to_string(n) +
           " rows are too long beside the others for fp16";
  }
  if (frame.queries_beyond > nq / 64 + 1) {
    return std::to_string(frame.queries_beyond) + " of " + std::to_string(nq) +
           " queries are too far from the base for fp16";
  }
  return "";
}

}  // namespace

KnnPlan plan_knn(const DeviceTraits& device, const ann::KnnSample& queries,
                 const ann::KnnSample& base, ann::Metric metric, int k, KnnPath asked, int threads,
                 KnnPath given_up) {
  const auto refuse = [&](const std::string& why) {
    throw Error(
        ErrorCategory::kDevice,
        "gpu::exact_knn: the path " + std::string(to_string(asked)) + " cannot be taken: " + why);
  };
  const int64_t d = base.rows.cols;
  const bool open = asked == KnnPath::kAuto;
  std::string why;
  if (device.major < 8) {
    why = "sm_" + std::to_string(device.major) + std::to_string(device.minor) +
          " has no tensor cores that the kernels use (sm_80 and later)";
  } else if (k > 1024) {
    why = "k = " + std::to_string(k) + " is above 1024";
  } else if (given_up == KnnPath::kFp16) {
    why = "rows beyond fp16";
  }
  if (!why.empty() && !open && asked != KnnPath::kFp32) refuse(why);
  const bool bytes_missed = given_up == KnnPath::kInteger;
  if (why.empty() && ((open && !bytes_missed) || asked == KnnPath::kInteger)) {
    const ann::KnnBytes bytes = ann::find_knn_bytes(base, queries, metric, threads);
    if (bytes.reason.empty()) {
      return {KnnPath::kInteger,
              "whole numbers within 256 values",
              {},
              ann::integer_encoder(metric, d, bytes)};
    }
    if (!open) refuse(bytes.reason);
  }
  if (why.empty() && (open || asked == KnnPath::kFp16)) {
    ann::KnnFrame frame =
        ann::find_knn_frame(base, queries, metric, ann::KnnFormat::kFp16, threads);
    if (open) why = against_fp16(frame, base.rows.rows, queries.rows.rows, d);
    if (why.empty()) {
      const ann::KnnEncoder encoder = ann::fp16_encoder(metric, d, frame);
      return {KnnPath::kFp16, open ? "tensor cores and fp16 rows" : "as asked",
              std::move(frame.mean), encoder};
    }
  }
  ann::KnnFrame frame = ann::find_knn_frame(base, queries, metric, ann::KnnFormat::kFp32, threads);
  // Any order of summation: a product passes d additions at most.
  const ann::KnnEncoder encoder = ann::fp32_encoder(metric, d, d + 2, frame);
  return {KnnPath::kFp32, open ? why : "as asked", std::move(frame.mean), encoder};
}

KnnMemory plan_memory(int64_t budget, const KnnSizes& sizes) {
  const int64_t float_row = sizes.d * int64_t{sizeof(float)};
  // What chunks hand on, the states, the mean.
  const int64_t fixed =
      sizes.queries * (sizes.k * int64_t{sizeof(Waiting)} + int64_t{sizeof(QueryState)}) +
      sizes.d * int64_t{sizeof(double)} + sizes.staging_bytes + kSideBytes;
  const int64_t per_query = float_row + sizes.row_bytes + int64_t{sizeof(ann::KnnQuery)} +
                            2 * selection_capacity(sizes.k) * int64_t{sizeof(Waiting)} +
                            sizes.product_rows * int64_t{sizeof(float)};
  // With the list of rows that a pass may leave out.
  const int64_t per_row =
      float_row + sizes.row_bytes + int64_t{sizeof(ann::KnnRow)} + int64_t{sizeof(int32_t)};
  const int64_t few = std::min(sizes.rows, kRowsAtLeast);
  const auto buffers = [&](int64_t rows) { return rows < sizes.rows ? 2 : 1; };
  const int64_t least = fixed + per_query + few * buffers(few) * per_row;
  if (budget < least) {
    throw Error(ErrorCategory::kUsage,
                "gpu::exact_knn: " + std::to_string(budget >> 20) +
                    " MiB of device memory are too little: the least here is " +
                    std::to_string((least >> 20) + 1) + " MiB");
  }
  // Queries share the chunk's way through memory: they get up to a quarter, rows the rest.
  KnnMemory memory;
  memory.tile_queries =
      std::clamp<int64_t>((budget - fixed - few * buffers(few) * per_row) / 4 / per_query, 1,
                          std::min(kTileQueries, sizes.queries));
  const int64_t left = budget - fixed - memory.tile_queries * per_query;
  memory.chunk_rows = left / per_row >= sizes.rows ? sizes.rows : left / 2 / per_row;
  memory.buffers = buffers(memory.chunk_rows);
  memory.bytes =
      fixed + memory.tile_queries * per_query + memory.buffers * memory.chunk_rows * per_row;
  return memory;
}

}  // namespace crinn::gpu
