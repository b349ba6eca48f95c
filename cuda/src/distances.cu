// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/distances.h"

#include <algorithm>
#include <limits>
#include <string>

#include "check.h"
#include "crinn/base/error.h"
#include "crinn/gpu/knn.h"
#include "device_memory.h"

namespace crinn::gpu {
namespace {

constexpr int kTileRows = 32, kTileQueries = 8;  // one pair a thread
constexpr int kThreads = kTileRows * kTileQueries;
constexpr int64_t kStagedBytes = 48 << 10;

/// An odd number of words a row: the 32 rows that a warp reads at once lie in different banks.
int64_t staged_stride(int64_t d) { return d | 1; }

/// Threads along rows, then queries. With `staged`, vectors go through shared memory once a block
/// instead of through the cache.
__global__ void __launch_bounds__(kThreads)
    pairwise_kernel(const float* queries, int64_t nq, const float* base, int64_t n, int64_t d,
                    ann::Metric metric, ann::Precision precision, int64_t stride, bool staged,
                    float* out) {
  extern __shared__ float shared[];
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kTileRows;
  const int64_t first_query = static_cast<int64_t>(blockIdx.y) * kTileQueries;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t row = first_row + thread % kTileRows, query = first_query + thread / kTileRows;
  const float* x = base + row * d;
  const float* q = queries + query * d;
  if (staged) {
    for (int64_t i = thread; i < (kTileRows + kTileQueries) * d; i += kThreads) {
      const int64_t line = i / d, column = i % d;
      const int64_t from = line < kTileRows ? first_row + line : first_query + line - kTileRows;
      const bool inside = line < kTileRows ? from < n : from < nq;
      shared[line * stride + column] =
          inside ? (line < kTileRows ? base : queries)[from * d + column] : 0;
    }
    __syncthreads();
    x = shared + thread % kTileRows * stride;
    q = shared + (kTileRows + thread / kTileRows) * stride;
  }
  if (row < n && query < nq) out[query * n + row] = ann::distance_in(precision, q, x, d, metric);
}

/// One place a thread; ids outside of the chunk [first, first + rows) are another launch's.
__global__ void __launch_bounds__(kThreads)
    gathered_kernel(const float* queries, const float* chunk, int64_t first, int64_t rows,
                    int64_t d, ann::Metric metric, const int64_t* ids, int64_t places, int64_t k,
                    double* out) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= places) return;
  const int64_t local = ids[at] - first;
  if (ids[at] < 0 || local < 0 || local >= rows) return;
  out[at] = ann::exact_distance(queries + at / k * d, chunk + local * d, d, metric);
}

void require_device(const char* operation) {
  const DeviceStatus status = device_status();
  if (!status.available) {
    throw Error(ErrorCategory::kDevice, std::string(operation) + ": " + status.reason);
  }
}

/// Rows of `row_bytes` that fit what is free, with a tenth left.
int64_t rows_that_fit(int64_t row_bytes, int64_t rows, const char* operation) {
  std::size_t free = 0, total = 0;
  CRINN_CHECK_CUDA(cudaMemGetInfo(&free, &total));
  const auto fit = static_cast<int64_t>(static_cast<double>(free) * 0.9) / row_bytes;
  if (fit < 1) {
    throw Error(ErrorCategory::kDevice, std::string(operation) + ": " + std::to_string(free >> 20) +
                                            " MiB of free device memory hold no row");
  }
  return std::min(fit, rows);
}

void copy_rows(DeviceArray<float>& target, MatrixView<const float> source) {
  const auto bytes = static_cast<std::size_t>(source.cols) * sizeof(float);
  CRINN_CHECK_CUDA(cudaMemcpy2D(target.get(), bytes, source.data,
                                static_cast<std::size_t>(source.stride) * sizeof(float), bytes,
                                static_cast<std::size_t>(source.rows), cudaMemcpyHostToDevice));
}

unsigned blocks(int64_t size, int64_t per_block) {
  return static_cast<unsigned>((size + per_block - 1) / per_block);
}

}  // namespace

std::vector<float> pairwise_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                      ann::Metric metric, ann::Precision precision) {
  constexpr const char* kOperation = "gpu::pairwise_distances";
  ann::check_distances(queries, base, {}, 0, kOperation);
  require_device(kOperation);
  std::vector<float> result(static_cast<std::size_t>(queries.rows * base.rows));
  if (result.empty()) return result;
  const int64_t d = base.cols;
  const int64_t tile = std::min<int64_t>(queries.rows, 4096);  // a grid's second dimension
  const int64_t float_bytes = sizeof(float);
  DeviceArray<float> tile_queries(tile * d);
  const int64_t chunk = rows_that_fit((d + tile) * float_bytes, base.rows, kOperation);
  DeviceArray<float> rows(chunk * d), distances(tile * chunk);
  const int64_t stride = staged_stride(d);
  const int64_t staged_bytes = (kTileRows + kTileQueries) * stride * float_bytes;
  const bool staged = staged_bytes <= kStagedBytes;
  for (int64_t first = 0; first < base.rows; first += chunk) {
    const int64_t count = std::min(chunk, base.rows - first);
    copy_rows(rows, base.slice(first, count));
    for (int64_t q = 0; q < queries.rows; q += tile) {
      const int64_t now = std::min(tile, queries.rows - q);
      copy_rows(tile_queries, queries.slice(q, now));
      const dim3 grid(blocks(count, kTileRows), blocks(now, kTileQueries));
      pairwise_kernel<<<grid, kThreads, staged ? static_cast<std::size_t>(staged_bytes) : 0>>>(
          tile_queries.get(), now, rows.get(), count, d, metric, precision, stride, staged,
          distances.get());
      CRINN_CHECK_CUDA(cudaGetLastError());
      const auto bytes = static_cast<std::size_t>(count * float_bytes);
      CRINN_CHECK_CUDA(cudaMemcpy2D(
          result.data() + q * base.rows + first, static_cast<std::size_t>(base.rows * float_bytes),
          distances.get(), bytes, bytes, static_cast<std::size_t>(now), cudaMemcpyDeviceToHost));
    }
  }
  return result;
}

std::vector<double> gathered_distances(MatrixView<const float> queries,
                                       MatrixView<const float> base, ann::Metric metric,
                                       std::span<const int64_t> ids, int64_t k) {
  constexpr const char* kOperation = "gpu::gathered_distances";
  ann::check_distances(queries, base, ids, k, kOperation);
  require_device(kOperation);
  std::vector<double> result(ids.size(), std::numeric_limits<double>::infinity());
  if (result.empty() || base.rows == 0) return result;
  const int64_t d = base.cols;
  const auto places = static_cast<int64_t>(ids.size());
  DeviceArray<float> raw_queries(queries.rows * d);
  DeviceArray<int64_t> wanted(places);
  DeviceArray<double> distances(places);
  copy_rows(raw_queries, queries);
  wanted.upload(0, ids.data(), places);
  distances.upload(0, result.data(), places);
  const int64_t chunk = rows_that_fit(d * int64_t{sizeof(float)}, base.rows, kOperation);
  DeviceArray<float> rows(chunk * d);
  for (int64_t first = 0; first < base.rows; first += chunk) {
    const int64_t count = std::min(chunk, base.rows - first);
    copy_rows(rows, base.slice(first, count));
    gathered_kernel<<<blocks(places, kThreads), kThreads>>>(raw_queries.get(), rows.get(), first,
                                                            count, d, metric, wanted.get(), places,
                                                            k, distances.get());
    CRINN_CHECK_CUDA(cudaGetLastError());
  }
  distances.download(result.data(), 0, places);
  return result;
}

}  // namespace crinn::gpu
