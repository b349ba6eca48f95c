// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/knn.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "block_select.h"
#include "check.h"
#include "crinn/ann/knn_rows.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/base/progress.h"
#include "cublas.h"
#include "device_memory.h"

namespace crinn::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kTileRows = 32768;                // base rows of one product
constexpr int64_t kTileQueries = 1024;              // queries of one product: 128 MiB with the rows
constexpr int64_t kBufferBytes = int64_t{1} << 30;  // waiting rows of a tile of queries
constexpr int64_t kStagingBytes = int64_t{256} << 20;

struct DeviceBlock {
  int rank, size;
  CRINN_HOST_DEVICE void sync() const {
#if defined(__CUDA_ARCH__)
    __syncthreads();
#endif
  }
  CRINN_HOST_DEVICE int add(int* counter, int value) const {
#if defined(__CUDA_ARCH__)
    return atomicAdd(counter, value);
#else
    return *counter += value;  // never called: a device block exists on the device only
#endif
  }
};

/// exact_distance of a query to a row of the resident chunk.
struct ExactDistance {
  const float* query;
  const float* chunk;  // rows from first_id on
  int64_t first_id, d;
  ann::Metric metric;
  CRINN_HOST_DEVICE double operator()(int32_t id) const {
    return ann::exact_distance(query, chunk + (id - first_id) * d, d, metric);
  }
};

/// Everything of one tile of queries in device memory.
struct TileArrays {
  const float* raw_queries;      // [queries, d]
  const ann::KnnQuery* queries;  // [queries]
  QueryState* states;            // [queries]
  Waiting* rows;                 // [queries, capacity]
  Waiting* spare;                // [queries, capacity]
  const float* products;         // [queries, piece.rows]
};

/// One block a query: offers a piece of the chunk, and compacts or, at the end of a chunk, settles.
__global__ void __launch_bounds__(kThreads)
    select_kernel(TileArrays tile, Offer piece, ExactDistance exact, int32_t capacity, int32_t k,
                  bool last) {
  __shared__ Selection selection;
  const int64_t q = blockIdx.x;
  DeviceBlock block{static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x)};
  if (block.rank == 0) {
    selection.state = tile.states[q];
    selection.query = tile.queries[q];
    selection.rows = tile.rows + q * capacity;
    selection.spare = tile.spare + q * capacity;
    selection.capacity = capacity;
    selection.k = k;
  }
  block.sync();
  piece.products = tile.products + q * piece.rows;
  exact.query = tile.raw_queries + q * exact.d;
  offer(block, selection, piece, exact);
  finish(block, selection, last, exact);
  // The buffers may have changed places: the next launch looks in the first.
  Waiting* const home = tile.rows + q * capacity;
  if (selection.rows != home) {
    for (int i = block.rank; i < selection.state.count; i += block.size) {
      home[i] = selection.rows[i];
    }
  }
  if (block.rank == 0) tile.states[q] = selection.state;
}

class Search {
 public:
  Search(MatrixView<const float> queries, MatrixView<const float> base, ann::Metric metric, int k)
      : base_(base),
        queries_(queries),
        k_(std::min<int64_t>(k, base.rows)),
        d_(base.cols),
        // Any order of summation: a product passes d additions at most.
        certificate_(metric, base.cols, base.cols + 2),
        prepared_(base, queries, metric, available_cores()),
        capacity_(selection_capacity(k_)),
        tile_queries_(std::clamp<int64_t>(kBufferBytes / (2 * capacity_ * int64_t{sizeof(Waiting)}),
                                          1, std::min(kTileQueries, queries.rows))),
        kept_(queries.rows * k_),
        states_(queries.rows) {
    const std::vector<QueryState> fresh(static_cast<std::size_t>(queries.rows),
                                        {std::numeric_limits<float>::infinity(), 0});
    states_.upload(0, fresh.data(), queries.rows);
    raw_queries_ = DeviceArray<float>(tile_queries_ * d_);
    scaled_queries_ = DeviceArray<float>(tile_queries_ * d_);
    terms_of_queries_ = DeviceArray<ann::KnnQuery>(tile_queries_);
    rows_ = DeviceArray<Waiting>(tile_queries_ * capacity_);
    spare_ = DeviceArray<Waiting>(tile_queries_ * capacity_);
    products_ = DeviceArray<float>(tile_queries_ * std::min(kTileRows, base.rows));
  }

  Neighbors run(int k) {
    const int64_t chunk_rows = rows_that_fit();
    raw_base_ = DeviceArray<float>(chunk_rows * d_);
    scaled_base_ = DeviceArray<float>(chunk_rows * d_);
    terms_of_base_ = DeviceArray<ann::KnnRow>(chunk_rows);
    Progress progress("exact k-NN on the GPU", base_.rows * queries_.rows);
    int64_t done = 0;
    for (int64_t first = 0; first < base_.rows; first += chunk_rows) {
      const int64_t count = std::min(chunk_rows, base_.rows - first);
      upload_base(first, count);
      for (int64_t q = 0; q < queries_.rows; q += tile_queries_) {
        const int64_t tile = std::min(tile_queries_, queries_.rows - q);
        search_tile(q, tile, first, count);
        progress.update(done += tile * count);
      }
    }
    return collect(k);
  }

 private:
  /// Base rows, raw and scaled, that fit beside the tile's arrays.
  int64_t rows_that_fit() const {
    std::size_t free = 0, total = 0;
    CRINN_CHECK_CUDA(cudaMemGetInfo(&free, &total));
    const int64_t row_bytes = 2 * d_ * int64_t{sizeof(float)} + int64_t{sizeof(ann::KnnRow)};
    // A tenth is left to cuBLAS's workspace and to fragmentation.
    const int64_t rows = static_cast<int64_t>(static_cast<double>(free) * 0.9) / row_bytes;
    if (rows < 1) {
      throw Error(ErrorCategory::kDevice, "gpu::exact_knn: " + std::to_string(free >> 20) +
                                              " MiB of free device memory hold no row");
    }
    return std::min(rows, base_.rows);
  }

  /// Raw rows [count, d] of `source` to a device array.
  static void upload_raw(MatrixView<const float> source, DeviceArray<float>& target) {
    const auto bytes = static_cast<std::size_t>(source.cols) * sizeof(float);
    CRINN_CHECK_CUDA(cudaMemcpy2D(target.get(), bytes, source.data,
                                  static_cast<std::size_t>(source.stride) * sizeof(float), bytes,
                                  static_cast<std::size_t>(source.rows), cudaMemcpyHostToDevice));
  }

  void upload_base(int64_t first, int64_t count) {
    upload_raw(base_.slice(first, count), raw_base_);
    const int64_t step = std::max<int64_t>(1, kStagingBytes / (d_ * int64_t{sizeof(float)}));
    std::vector<float> scaled(static_cast<std::size_t>(std::min(step, count) * d_));
    std::vector<ann::KnnRow> terms(static_cast<std::size_t>(std::min(step, count)));
    for (int64_t at = 0; at < count; at += step) {
      const int64_t rows = std::min(step, count - at);
      parallel_for(available_cores(), rows, 256, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          terms[static_cast<std::size_t>(i)] =
              prepared_.base_row(first + at + i, certificate_, scaled.data() + i * d_);
        }
      });
      scaled_base_.upload(at * d_, scaled.data(), rows * d_);
      terms_of_base_.upload(at, terms.data(), rows);
    }
  }

  void upload_queries(int64_t first, int64_t count) {
    upload_raw(queries_.slice(first, count), raw_queries_);
    std::vector<float> scaled(static_cast<std::size_t>(count * d_));
    std::vector<ann::KnnQuery> terms;
    for (int64_t q = 0; q < count; ++q) {
      prepared_.query_row(first + q, scaled.data() + q * d_);
      terms.push_back(certificate_.query(prepared_.query_norm(first + q)));
    }
    scaled_queries_.upload(0, scaled.data(), count * d_);
    terms_of_queries_.upload(0, terms.data(), count);
  }

  /// Copies k places a query between the tile's buffers [capacity] and what chunks hand on [k].
  void move_kept(int64_t first, int64_t count, bool to_tile) {
    Waiting* const kept = kept_.get() + first * k_;
    const auto narrow = static_cast<std::size_t>(k_) * sizeof(Waiting);
    const auto wide = static_cast<std::size_t>(capacity_) * sizeof(Waiting);
    CRINN_CHECK_CUDA(cudaMemcpy2D(to_tile ? rows_.get() : kept, to_tile ? wide : narrow,
                                  to_tile ? kept : rows_.get(), to_tile ? narrow : wide, narrow,
                                  static_cast<std::size_t>(count), cudaMemcpyDeviceToDevice));
  }

  void search_tile(int64_t q, int64_t queries, int64_t first, int64_t count) {
    upload_queries(q, queries);
    if (first > 0) move_kept(q, queries, true);
    const TileArrays tile{raw_queries_.get(), terms_of_queries_.get(),
                          states_.get() + q,  rows_.get(),
                          spare_.get(),       products_.get()};
    // The first pieces are small: their threshold spares most of what follows from waiting.
    int64_t rows = first == 0 ? std::min<int64_t>(kTileRows, 4 * kSegment) : kTileRows;
    for (int64_t at = 0; at < count; at += rows, rows = std::min(2 * rows, kTileRows)) {
      rows = std::min(rows, count - at);
      cublas_.products(scaled_queries_.get(), queries, scaled_base_.get() + at * d_, rows, d_,
                       products_.get());
      const Offer piece{terms_of_base_.get() + at, nullptr, rows, first + at};
      const ExactDistance exact{nullptr, raw_base_.get(), first, d_, certificate_.metric};
      select_kernel<<<static_cast<unsigned>(queries), kThreads>>>(
          tile, piece, exact, static_cast<int32_t>(capacity_), static_cast<int32_t>(k_),
          at + rows == count);
      CRINN_CHECK_CUDA(cudaGetLastError());
    }
    move_kept(q, queries, false);
    CRINN_CHECK_CUDA(cudaDeviceSynchronize());
  }

  Neighbors collect(int k) const {
    std::vector<Waiting> kept(static_cast<std::size_t>(queries_.rows * k_));
    kept_.download(kept.data(), 0, queries_.rows * k_);
    Neighbors result;
    const auto places = static_cast<std::size_t>(queries_.rows * k);
    result.ids.assign(places, -1);
    result.distances.assign(places, std::numeric_limits<double>::infinity());
    for (int64_t q = 0; q < queries_.rows; ++q) {
      for (int64_t j = 0; j < k_; ++j) {
        const Waiting& row = kept[static_cast<std::size_t>(q * k_ + j)];
        result.ids[static_cast<std::size_t>(q * k + j)] = row.id;
        result.distances[static_cast<std::size_t>(q * k + j)] = row.distance;
      }
    }
    return result;
  }

  MatrixView<const float> base_, queries_;
  int64_t k_, d_;
  ann::KnnCertificate certificate_;
  ann::KnnRows prepared_;
  int64_t capacity_, tile_queries_;
  Cublas cublas_;
  DeviceArray<Waiting> kept_;       // [nq, k]: exact neighbours so far
  DeviceArray<QueryState> states_;  // [nq]
  DeviceArray<float> raw_queries_, scaled_queries_, products_, raw_base_, scaled_base_;
  DeviceArray<ann::KnnQuery> terms_of_queries_;
  DeviceArray<ann::KnnRow> terms_of_base_;
  DeviceArray<Waiting> rows_, spare_;
};

}  // namespace

DeviceStatus device_status() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return {false, "", "no CUDA device can be used: no NVIDIA driver is installed"};
  }
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess || count == 0) {
    cudaGetLastError();  // the error is reported here, and must not surface at a later launch
    return {false, "",
            std::string("no CUDA device can be used: ") +
                (status == cudaSuccess ? "none was found" : cudaGetErrorString(status))};
  }
  cudaDeviceProp properties{};
  CRINN_CHECK_CUDA(cudaGetDeviceProperties(&properties, 0));
  cudaFuncAttributes attributes{};
  if (const cudaError_t status = cudaFuncGetAttributes(&attributes, select_kernel);
      status != cudaSuccess) {
    cudaGetLastError();
    return {false, properties.name,
            std::string("the kernels were not built for ") + properties.name + " (sm_" +
                std::to_string(properties.major) + std::to_string(properties.minor) +
                "): " + cudaGetErrorString(status)};
  }
  return {true, properties.name, ""};
}

Neighbors exact_knn(MatrixView<const float> queries, MatrixView<const float> base,
                    ann::Metric metric, int k) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorCategory::kUsage, "gpu::exact_knn: " + message);
  };
  if (k < 1) refuse("k = " + std::to_string(k) + " is below 1");
  if (base.rows > std::numeric_limits<int32_t>::max()) {
    refuse(std::to_string(base.rows) + " base rows: more than 2^31 - 1");
  }
  if (base.rows > 0 && queries.rows > 0 &&
      (base.cols != queries.cols || base.cols < 1 || base.cols > 1 << 20)) {
    refuse("base has " + std::to_string(base.cols) + " dimensions, queries have " +
           std::to_string(queries.cols) + " (1 to 2^20 are supported)");
  }
  const DeviceStatus status = device_status();
  if (!status.available) {
    throw Error(ErrorCategory::kDevice, "gpu::exact_knn: " + status.reason);
  }
  if (base.rows == 0 || queries.rows == 0) {
    const auto places = static_cast<std::size_t>(queries.rows * k);
    return {std::vector<int64_t>(places, -1),
            std::vector<double>(places, std::numeric_limits<double>::infinity())};
  }
  return Search(queries, base, metric, k).run(k);
}

}  // namespace crinn::gpu
