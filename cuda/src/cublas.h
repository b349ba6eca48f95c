// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace crinn::gpu {

/// The one product that exact k-NN needs of cuBLAS. The library (0.6 GB with cublasLt) is loaded
/// when the first object is made, not when a tool starts.
class Cublas {
 public:
  /// Throws Error (device) where the library or a device is missing.
  Cublas();
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  /// products [queries, rows] = q [queries, d] x [rows, d]^T, all row-major in device memory, in
  /// fp32 without reduced-precision modes. Runs in the default stream.
  void products(const float* q, int64_t queries, const float* x, int64_t rows, int64_t d,
                float* products) const;

 private:
  struct Library;
  const Library& library_;
  void* handle_ = nullptr;
};

}  // namespace crinn::gpu
