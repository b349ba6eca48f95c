// SPDX-License-Identifier: Apache-2.0
#include "reference_knn.h"

#include <algorithm>
#include <string>

#include "check.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "cublas.h"
#include "device_memory.h"
#include "raft_select.h"
#include "reference_search.h"
#include "shards.h"

namespace crinn::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kQueriesEach = 8;  // of one thread: what it reads of a place stays in the cache

/// Threads along places, blocks along queries.
template <class Body>
__global__ void __launch_bounds__(kThreads)
    each_kernel(int64_t queries, int64_t places, Body body) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= places) return;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kQueriesEach;
  for (int64_t q = first; q < queries && q < first + kQueriesEach; ++q) body(q, at);
}

unsigned blocks(int64_t size, int64_t per_block) {
  return static_cast<unsigned>((size + per_block - 1) / per_block);
}

/// The current device, as ReferenceSearch uses one. All in the default stream.
class CudaReference {
 public:
  template <class T>
  using Array = DeviceArray<T>;

  static void copy_matrix(Array<float>& target, MatrixView<const float> source) {
    const auto bytes = static_cast<std::size_t>(source.cols) * sizeof(float);
    CRINN_CHECK_CUDA(cudaMemcpy2D(target.get(), bytes, source.data,
                                  static_cast<std::size_t>(source.stride) * sizeof(float), bytes,
                                  static_cast<std::size_t>(source.rows), cudaMemcpyHostToDevice));
  }

  void products(const float* q, int64_t queries, const float* x, int64_t rows, int64_t d,
                float* products) const {
    cublas_.products(q, queries, x, rows, d, products);
  }

  void select_smallest(const float* values, int64_t rows, int64_t n, int64_t k, float* out_values,
                       int32_t* out_ids) const {
    select_.select_smallest(values, rows, n, k, out_values, out_ids);
  }

  template <class Body>
  static void for_each(int64_t queries, int64_t places, const Body& body) {
    const dim3 grid(blocks(places, kThreads), blocks(queries, kQueriesEach));
    each_kernel<<<grid, kThreads>>>(queries, places, body);
    CRINN_CHECK_CUDA(cudaGetLastError());
  }

 private:
  RaftSelect select_;  // first: it says what is missing
  Cublas cublas_;
};

}  // namespace

Neighbors reference_knn(MatrixView<const float> queries, MatrixView<const float> base,
                        ann::Metric metric, int k, const ReferenceOptions& options) {
  check_knn(queries, base, k, {{options.device}, options.memory_bytes});
  const DeviceStatus status = device_status(options.device);
  if (!status.available) {
    throw Error(ErrorCategory::kDevice, "gpu::reference_knn: " + status.reason);
  }
  if (base.rows == 0 || queries.rows == 0) return merge_neighbors({}, queries.rows, k);
  CudaReference device;
  std::size_t free = 0, total = 0;
  CRINN_CHECK_CUDA(cudaMemGetInfo(&free, &total));
  // A tenth is left to cuBLAS's workspace, RAFT's scratch and fragmentation.
  auto memory = static_cast<int64_t>(static_cast<double>(free) * 0.9);
  if (options.memory_bytes > 0) memory = std::min(memory, options.memory_bytes);
  Neighbors result =
      ReferenceSearch<CudaReference>(device, queries, base, metric, k, memory, available_cores())
          .run();
  result.plan = "reference on " + status.name + ": " + result.plan;
  return result;
}

}  // namespace crinn::gpu
