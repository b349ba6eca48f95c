// SPDX-License-Identifier: Apache-2.0
#include "device_rates.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "crinn/ann/knn_half.h"
#include "crinn/base/rng.h"
#include "device_memory.h"

namespace crinn::bench {
namespace {

constexpr int kRepeats = 15, kWarmUp = 5;
constexpr int64_t kSide = 8192;
constexpr std::size_t kCopyBytes = std::size_t{1} << 30;
constexpr std::size_t kLinkBytes = std::size_t{256} << 20;

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCategory::kDevice,
              std::string(call) + ": cuBLAS status " + std::to_string(static_cast<int>(status)));
}

class Event {
 public:
  Event() { CRINN_CHECK_CUDA(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// amount / the time that launch() takes on the device, of each repetition.
template <class Launch>
Spread rate(double amount, const Launch& launch) {
  const Event begin, end;
  std::vector<double> rates;
  for (int i = 0; i < kWarmUp + kRepeats; ++i) {
    CRINN_CHECK_CUDA(cudaEventRecord(begin.get()));
    launch();
    CRINN_CHECK_CUDA(cudaEventRecord(end.get()));
    CRINN_CHECK_CUDA(cudaEventSynchronize(end.get()));
    float milliseconds = 0;
    CRINN_CHECK_CUDA(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
    if (i >= kWarmUp) rates.push_back(amount / (1e-3 * milliseconds));
  }
  return spread_of(rates);
}

/// Random halves: a device multiplies zeros faster.
gpu::DeviceArray<uint16_t> random_matrix(uint64_t seed) {
  constexpr int64_t kSize = kSide * kSide, kRandom = int64_t{1} << 20;
  Rng rng(seed);
  std::vector<uint16_t> some(kRandom);
  for (uint16_t& value : some) value = ann::half_bits(static_cast<float>(rng.normal()));
  gpu::DeviceArray<uint16_t> matrix(kSize);
  for (int64_t at = 0; at < kSize; at += kRandom) matrix.upload(at, some.data(), kRandom);
  return matrix;
}

Spread tensor_flops() {
  const auto a = random_matrix(1), b = random_matrix(2);
  const gpu::DeviceArray<uint16_t> c(kSide * kSide);
  cublasHandle_t handle = nullptr;
  check(cublasCreate(&handle), "cublasCreate");
  const std::unique_ptr<cublasContext, cublasStatus_t (*)(cublasHandle_t)> owner(handle,
                                                                                 cublasDestroy);
  const float one = 1, zero = 0;
  return rate(2.0 * kSide * kSide * kSide, [&] {
    check(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, kSide, kSide, kSide, &one, a.get(),
                       CUDA_R_16F, kSide, b.get(), CUDA_R_16F, kSide, &zero, c.get(), CUDA_R_16F,
                       kSide, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
  });
}

Spread copy_bytes() {
  const gpu::DeviceArray<uint8_t> from(kCopyBytes), to(kCopyBytes);
  return rate(2.0 * kCopyBytes, [&] {
    CRINN_CHECK_CUDA(cudaMemcpyAsync(to.get(), from.get(), kCopyBytes, cudaMemcpyDeviceToDevice));
  });
}

Spread link_bytes() {
  void* pinned = nullptr;
  CRINN_CHECK_CUDA(cudaMallocHost(&pinned, kLinkBytes));
  const std::unique_ptr<void, cudaError_t (*)(void*)> owner(pinned, cudaFreeHost);
  std::memset(pinned, 1, kLinkBytes);
  const gpu::DeviceArray<uint8_t> to(kLinkBytes);
  return rate(kLinkBytes, [&] {
    CRINN_CHECK_CUDA(cudaMemcpyAsync(to.get(), pinned, kLinkBytes, cudaMemcpyHostToDevice));
  });
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

DeviceRates measure_rates() { return {tensor_flops(), copy_bytes(), link_bytes()}; }

}  // namespace crinn::bench
