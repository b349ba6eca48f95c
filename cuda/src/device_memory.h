// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "check.h"

namespace crinn::gpu {

/// An owned, uninitialised array in device memory.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(int64_t size) {
    if (size > 0) {
      CRINN_CHECK_CUDA(
          cudaMalloc(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(size) * sizeof(T)));
    }
  }
  DeviceArray(DeviceArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~DeviceArray() { cudaFree(data_); }  // a destructor does not throw

  T* get() const { return data_; }

  /// From host memory [count] to places from `first` on; done when it returns, for all streams.
  void upload(int64_t first, const T* source, int64_t count) {
    if (count == 0) return;
    CRINN_CHECK_CUDA(cudaMemcpy(data_ + first, source, static_cast<std::size_t>(count) * sizeof(T),
                                cudaMemcpyHostToDevice));
    // Of pageable memory the last part may still be on its way.
    CRINN_CHECK_CUDA(cudaStreamSynchronize(nullptr));
  }
  void download(T* target, int64_t first, int64_t count) const {
    CRINN_CHECK_CUDA(cudaMemcpy(target, data_ + first, static_cast<std::size_t>(count) * sizeof(T),
                                cudaMemcpyDeviceToHost));
  }

 private:
  T* data_ = nullptr;
};

}  // namespace crinn::gpu
