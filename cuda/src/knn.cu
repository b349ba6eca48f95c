// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/knn.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "cublas.h"
#include "device_block.h"
#include "device_memory.h"
#include "fused.h"
#include "knn_search.h"
#include "loader.h"
#include "shards.h"

namespace crinn::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kProductRows = 32768;     // base rows of one product of cuBLAS
constexpr int64_t kFusedRows = 256 * 1024;  // bounds what a query whose buffer overflows repeats

/// One block a query: turns a pass into rows that wait, and at the end of a chunk into neighbours.
__global__ void __launch_bounds__(kThreads)
    collect_kernel(KnnTile tile, KnnPiece piece, const float* products, bool last) {
  __shared__ Selection selection;
  DeviceBlock block{static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x)};
  collect_query(block, selection, tile, piece, products, last, blockIdx.x);
}

__global__ void __launch_bounds__(kThreads) take_kernel(KnnTile tile, ExactRows rows, bool held) {
  __shared__ Selection selection;
  DeviceBlock block{static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x)};
  take_exactly(block, selection, tile, rows, held, blockIdx.x);
}

/// The current device, as KnnSearch uses one. All but its loaders in the default stream.
class CudaDevice {
 public:
  template <class T>
  using Array = DeviceArray<T>;

  /// KnnSearch makes loaders of a device; ours is the current one.
  struct Loader : gpu::Loader {
    explicit Loader(const CudaDevice&) {}
  };

  static int64_t most_rows(KnnPath path) {
    return path == KnnPath::kFp32 ? kProductRows : kFusedRows;
  }

  static void copy_places(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                          std::size_t bytes, int64_t count) {
    CRINN_CHECK_CUDA(cudaMemcpy2D(to, to_pitch, from, from_pitch, bytes,
                                  static_cast<std::size_t>(count), cudaMemcpyDeviceToDevice));
  }

  void scan(const KnnTile& tile, const KnnPiece& piece, bool last) {
    if (piece.path == KnnPath::kFp32) {
      if (!cublas_) cublas_.emplace();
      const int64_t places = tile.count * piece.rows;
      if (places > product_places_) {
        products_ = Array<float>();  // free before it grows
        products_ = Array<float>(places);
        product_places_ = places;
      }
      cublas_->products(reinterpret_cast<const float*>(tile.encoded), tile.count,
                        reinterpret_cast<const float*>(piece.encoded), piece.rows, piece.d,
                        products_.get());
    } else {
      launch_fused({{tile.encoded, tile.count, piece.row_bytes},
                    {piece.encoded, piece.rows, piece.row_bytes},
                    tile.queries,
                    piece.terms,
                    tile.states,
                    tile.rows,
                    tile.capacity,
                    static_cast<int32_t>(piece.first_id)},
                   piece.path == KnnPath::kInteger);
    }
    collect_kernel<<<static_cast<unsigned>(tile.count), kThreads>>>(tile, piece, products_.get(),
                                                                    last);
    CRINN_CHECK_CUDA(cudaGetLastError());
    // Progress tells what is done, and a fault names the operation that it was in.
    if (last) CRINN_CHECK_CUDA(cudaStreamSynchronize(nullptr));
  }

  static void take(const KnnTile& tile, const ExactRows& rows, bool held) {
    take_kernel<<<static_cast<unsigned>(tile.count), kThreads>>>(tile, rows, held);
    CRINN_CHECK_CUDA(cudaGetLastError());
    CRINN_CHECK_CUDA(cudaStreamSynchronize(nullptr));
  }

 private:
  std::optional<Cublas> cublas_;
  Array<float> products_;
  int64_t product_places_ = 0;
};

Error device_error(const std::string& message) {
  return Error(ErrorCategory::kDevice, "gpu::exact_knn: " + message);
}

/// Refuses memory of another kind than the matrix says.
void check_memory(const KnnMatrix& matrix, const char* what) {
  if (matrix.rows == 0) return;
  cudaPointerAttributes attributes{};
  CRINN_CHECK_CUDA(cudaPointerGetAttributes(&attributes, matrix.data));
  const bool managed = attributes.type == cudaMemoryTypeManaged;
  if (managed || matrix.on_device == (attributes.type == cudaMemoryTypeDevice)) return;
  throw Error(ErrorCategory::kUsage, std::string("gpu::exact_knn: the ") + what + " are " +
                                         (matrix.on_device ? "not " : "") +
                                         "in a device's memory, which the matrix does not say");
}

/// The neighbours among the rows of one shard, on the device of that number.
Neighbors search_shard(int device_id, const KnnMatrix& queries, const KnnMatrix& base,
                       ann::Metric metric, int k, const KnnOptions& options, int threads,
                       bool progress) {
  CRINN_CHECK_CUDA(cudaSetDevice(device_id));
  cudaDeviceProp properties{};
  CRINN_CHECK_CUDA(cudaGetDeviceProperties(&properties, device_id));
  std::size_t free = 0, total = 0;
  CRINN_CHECK_CUDA(cudaMemGetInfo(&free, &total));
  // A tenth is left to cuBLAS's workspace and to fragmentation.
  auto memory = static_cast<int64_t>(static_cast<double>(free) * 0.9);
  if (options.memory_bytes > 0) memory = std::min(memory, options.memory_bytes);
  CudaDevice device;
  PlannedSearch found = plan_and_search(device, {properties.major, properties.minor}, queries, base,
                                        metric, k, options.path, memory, progress, threads);
  found.neighbors.plan = std::string(to_string(found.path)) + " on " + properties.name + ", " +
                         std::to_string(found.memory.bytes >> 20) + " MiB: " + found.reason;
  return std::move(found.neighbors);
}

}  // namespace

DeviceStatus device_status(int device) {
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
  if (device < 0 || device >= count) {
    return {false, "",
            "device " + std::to_string(device) + " of " + std::to_string(count) + " is not there"};
  }
  cudaDeviceProp properties{};
  CRINN_CHECK_CUDA(cudaGetDeviceProperties(&properties, device));
  CRINN_CHECK_CUDA(cudaSetDevice(device));  // the next call starts the current one
  cudaFuncAttributes attributes{};
  if (const cudaError_t status = cudaFuncGetAttributes(&attributes, collect_kernel);
      status != cudaSuccess) {
    cudaGetLastError();
    return {false, properties.name,
            std::string("the kernels cannot be loaded on ") + properties.name + " (sm_" +
                std::to_string(properties.major) + std::to_string(properties.minor) +
                "): " + cudaGetErrorString(status)};
  }
  return {true, properties.name, ""};
}

Neighbors exact_knn(const KnnMatrix& queries, const KnnMatrix& base, ann::Metric metric, int k,
                    const KnnOptions& options) {
  check_knn(queries, base, k, options);
  for (const int device : options.devices) {
    const DeviceStatus status = device_status(device);
    if (!status.available) throw device_error(status.reason);
  }
  check_memory(queries, "queries");
  check_memory(base, "base rows");
  const int shards = static_cast<int>(options.devices.size());
  const int threads = std::max(1, available_cores() / shards);
  return search_shards(
      base.rows, queries.rows, k, shards, [&](int shard, int64_t first, int64_t count) {
        const int device = options.devices[static_cast<std::size_t>(shard)];
        try {
          return search_shard(device, queries, base.slice(first, count), metric, k, options,
                              threads, shard == 0);
        } catch (const Error& error) {
          if (shards == 1) throw;
          throw Error(error.category(), "device " + std::to_string(device) + ", base rows from " +
                                            std::to_string(first) + " on: " + error.what());
        }
      });
}

}  // namespace crinn::gpu
