// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <vector>

#include "crinn/gpu/knn_matrix.h"
#include "device_memory.h"
#include "knn_search.h"

namespace crinn::gpu {

/// Brings rows to the device and encodes them there, as KnnSearch takes it, in a stream of its own:
/// what the default stream does goes on meanwhile. Rows of pageable host memory are copied to two
/// pinned buffers in turn, so that a transfer overlaps with the copying of what comes next.
class Loader {
 public:
  /// Of the device that is current when it is made; its members make it current in their thread.
  Loader();
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Device memory that rows of this type pass through.
  static int64_t device_bytes(const KnnMatrix& source);

  void load(const KnnMatrix& source, float* target);
  void to_host(const KnnMatrix& source, float* target);
  EncodedRows encode_base(const ann::KnnEncoder& encoder, const float* raw, int64_t rows,
                          uint8_t* out, ann::KnnRow* terms, int32_t* list);
  EncodedRows encode_queries(const ann::KnnEncoder& encoder, const float* raw, int64_t rows,
                             uint8_t* out, ann::KnnQuery* terms);
  void gather(const float* raw, int64_t d, const std::vector<int32_t>& ids, float* target);

 private:
  /// Half of what is on its way: pinned memory, and where its rows are widened from.
  struct Buffer {
    void* pinned = nullptr;
    DeviceArray<uint8_t> typed;
    int64_t rows = 0;            ///< that `typed` holds
    cudaEvent_t free = nullptr;  ///< recorded when the transfer has read it
  };

  void to_pinned(const KnnMatrix& source, void* pinned) const;
  void copy(void* to, const void* from, std::size_t bytes);

  int device_ = 0, threads_ = 1;
  cudaStream_t stream_ = nullptr;
  std::array<Buffer, 2> buffers_;
};

}  // namespace crinn::gpu
