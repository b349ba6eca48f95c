// SPDX-License-Identifier: Apache-2.0
#include "loader.h"

#include <thrust/copy.h>
#include <thrust/execution_policy.h>
#include <thrust/find.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/system_error.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "check.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "encode_steps.h"

namespace crinn::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int64_t kBufferBytes = int64_t{32} << 20;

/// A warp as encoders take a group of threads: one row.
struct WarpGroup {
  int rank;
  static constexpr int size = kWarp;
  CRINN_HOST_DEVICE double sum(double value) const {
#if defined(__CUDA_ARCH__)
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    }
#endif
    return value;
  }
  CRINN_HOST_DEVICE bool any(bool value) const {
#if defined(__CUDA_ARCH__)
    return __any_sync(0xFFFFFFFFu, value);
#else
    return value;  // never called: a warp exists on the device only
#endif
  }
};

/// One warp a row. terms: KnnRow of base rows or KnnQuery of queries.
template <class Terms>
__global__ void __launch_bounds__(kThreads)
    encode_kernel(ann::KnnEncoder encoder, const float* raw, int64_t rows, uint8_t* out,
                  Terms* terms) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (row >= rows) return;
  const WarpGroup group{static_cast<int>(threadIdx.x) % kWarp};
  const float* const x = raw + row * encoder.d;
  uint8_t* const to = out + row * encoder.row_bytes;
  Terms of_row;
  if constexpr (std::is_same_v<Terms, ann::KnnRow>) {
    of_row = encoder.base_row(group, x, to);
  } else {
    of_row = encoder.query_row(group, x, to);
  }
  if (group.rank == 0) terms[row] = of_row;
}

/// One element a thread, of consecutive ones.
__global__ void __launch_bounds__(kThreads)
    widen_kernel(const uint8_t* source, ElementType type, int64_t elements, float* target) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at < elements) target[at] = element_of(source, type, at);
}

__global__ void __launch_bounds__(kThreads)
    gather_kernel(const float* raw, int64_t d, const int32_t* ids, int64_t elements,
                  float* target) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at < elements) target[at] = raw[ids[at / d] * d + at % d];
}

unsigned blocks(int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

std::size_t row_bytes_of(const KnnMatrix& source) {
  return static_cast<std::size_t>(source.cols * bytes_of(source.type));
}

std::size_t stride_bytes_of(const KnnMatrix& source) {
  return static_cast<std::size_t>(source.stride * bytes_of(source.type));
}

/// What Thrust throws, as all other faults of a device.
template <class Work>
auto translated(const Work& work) {
  try {
    return work();
  } catch (const thrust::system_error& error) {
    cudaGetLastError();
    throw Error(ErrorCategory::kDevice, std::string("gpu::exact_knn: ") + error.what());
  } catch (const std::bad_alloc& error) {
    cudaGetLastError();
    throw Error(ErrorCategory::kDevice, std::string("gpu::exact_knn: ") + error.what());
  }
}

/// Rows that one buffer holds.
int64_t buffer_rows(const KnnMatrix& source) {
  const auto row = static_cast<int64_t>(row_bytes_of(source));
  return std::clamp<int64_t>(kBufferBytes / row, 1, std::max<int64_t>(source.rows, 1));
}

}  // namespace

Loader::Loader() : threads_(std::min(available_cores(), 8)) {
  CRINN_CHECK_CUDA(cudaGetDevice(&device_));
  CRINN_CHECK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Loader::~Loader() {
  cudaStreamSynchronize(stream_);  // a destructor does not throw
  for (const Buffer& buffer : buffers_) {
    if (buffer.pinned) cudaFreeHost(buffer.pinned);
    if (buffer.free) cudaEventDestroy(buffer.free);
  }
  cudaStreamDestroy(stream_);
}

int64_t Loader::device_bytes(const KnnMatrix& source) {
  if (source.type == ElementType::kFp32) return 0;
  return 2 * buffer_rows(source) * static_cast<int64_t>(row_bytes_of(source));
}

void Loader::to_pinned(const KnnMatrix& source, void* pinned) const {
  const std::size_t bytes = row_bytes_of(source);
  parallel_for(threads_, source.rows, std::max<int64_t>(1, (1 << 20) / static_cast<int64_t>(bytes)),
               [&](int64_t begin, int64_t end) {
                 auto* const to = static_cast<uint8_t*>(pinned);
                 for (int64_t i = begin; i < end; ++i) {
                   std::memcpy(to + static_cast<std::size_t>(i) * bytes, source.row(i), bytes);
                 }
               });
}

void Loader::load(const KnnMatrix& source, float* target) {
  CRINN_CHECK_CUDA(cudaSetDevice(device_));
  const std::size_t bytes = row_bytes_of(source);
  const bool typed = source.type != ElementType::kFp32;
  const int64_t step = buffer_rows(source);
  for (int64_t first = 0, turn = 0; first < source.rows; first += step, ++turn) {
    const KnnMatrix rows = source.slice(first, std::min(step, source.rows - first));
    Buffer& buffer = buffers_[static_cast<std::size_t>(turn % 2)];
    if (!buffer.free) {
      CRINN_CHECK_CUDA(cudaEventCreateWithFlags(&buffer.free, cudaEventDisableTiming));
    }
    if (typed && buffer.rows < step) {
      buffer.typed = DeviceArray<uint8_t>(step * static_cast<int64_t>(bytes));
      buffer.rows = step;
    }
    float* const widened = target + first * source.cols;
    void* const to = typed ? static_cast<void*>(buffer.typed.get()) : widened;
    if (source.on_device) {
      CRINN_CHECK_CUDA(cudaMemcpy2DAsync(to, bytes, rows.data, stride_bytes_of(rows), bytes,
                                         static_cast<std::size_t>(rows.rows), cudaMemcpyDefault,
                                         stream_));
    } else {
      const std::size_t all = static_cast<std::size_t>(rows.rows) * bytes;
      if (!buffer.pinned) {
        CRINN_CHECK_CUDA(
            cudaMallocHost(&buffer.pinned, std::max<std::size_t>(kBufferBytes, bytes)));
      }
      CRINN_CHECK_CUDA(cudaEventSynchronize(buffer.free));  // at once where it was never recorded
      to_pinned(rows, buffer.pinned);
      CRINN_CHECK_CUDA(cudaMemcpyAsync(to, buffer.pinned, all, cudaMemcpyHostToDevice, stream_));
      CRINN_CHECK_CUDA(cudaEventRecord(buffer.free, stream_));
    }
    if (typed) {
      const int64_t elements = rows.rows * rows.cols;
      widen_kernel<<<blocks(elements), kThreads, 0, stream_>>>(buffer.typed.get(), rows.type,
                                                               elements, widened);
      CRINN_CHECK_CUDA(cudaGetLastError());
    }
  }
  CRINN_CHECK_CUDA(cudaStreamSynchronize(stream_));
}

void Loader::copy(void* to, const void* from, std::size_t bytes) {
  CRINN_CHECK_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
  CRINN_CHECK_CUDA(cudaStreamSynchronize(stream_));
}

void Loader::to_host(const KnnMatrix& source, float* target) {
  CRINN_CHECK_CUDA(cudaSetDevice(device_));
  std::vector<uint8_t> copied;
  KnnMatrix rows = source;
  if (source.on_device) {
    const std::size_t bytes = row_bytes_of(source);
    copied.resize(static_cast<std::size_t>(source.rows) * bytes);
    CRINN_CHECK_CUDA(cudaMemcpy2DAsync(copied.data(), bytes, source.data, stride_bytes_of(source),
                                       bytes, static_cast<std::size_t>(source.rows),
                                       cudaMemcpyDefault, stream_));
    CRINN_CHECK_CUDA(cudaStreamSynchronize(stream_));
    rows = {copied.data(), source.type, source.rows, source.cols, source.cols, false};
  }
  for (int64_t i = 0; i < rows.rows; ++i) {
    for (int64_t j = 0; j < rows.cols; ++j) *target++ = element_of(rows.row(i), rows.type, j);
  }
}

EncodedRows Loader::encode_base(const ann::KnnEncoder& encoder, const float* raw, int64_t rows,
                                uint8_t* out, ann::KnnRow* terms, int32_t* list) {
  CRINN_CHECK_CUDA(cudaSetDevice(device_));
  encode_kernel<<<blocks(rows * kWarp), kThreads, 0, stream_>>>(encoder, raw, rows, out, terms);
  CRINN_CHECK_CUDA(cudaGetLastError());
  return translated([&] {
    const auto policy = thrust::cuda::par.on(stream_);
    EncodedRows encoded;
    const thrust::counting_iterator<int32_t> first(0);
    const int32_t* const end =
        thrust::copy_if(policy, first, first + static_cast<int32_t>(rows), terms, list, NotHeld());
    encoded.left_out.resize(static_cast<std::size_t>(end - list));
    if (end == list) return encoded;
    copy(encoded.left_out.data(), list, encoded.left_out.size() * sizeof(int32_t));
    const ann::KnnRow* const bad = thrust::find_if(policy, terms, terms + rows, NotFinite());
    if (bad != terms + rows) encoded.bad_row = bad - terms;
    return encoded;
  });
}

EncodedRows Loader::encode_queries(const ann::KnnEncoder& encoder, const float* raw, int64_t rows,
                                   uint8_t* out, ann::KnnQuery* terms) {
  CRINN_CHECK_CUDA(cudaSetDevice(device_));
  encode_kernel<<<blocks(rows * kWarp), kThreads, 0, stream_>>>(encoder, raw, rows, out, terms);
  CRINN_CHECK_CUDA(cudaGetLastError());
  std::vector<ann::KnnQuery> of_all(static_cast<std::size_t>(rows));
  copy(of_all.data(), terms, of_all.size() * sizeof(ann::KnnQuery));
  EncodedRows encoded;
  const auto bad = std::find_if(of_all.begin(), of_all.end(), NotFinite());
  if (bad != of_all.end()) encoded.bad_row = bad - of_all.begin();
  for (std::size_t q = 0; q < of_all.size(); ++q) {
    if (NotHeld()(of_all[q])) encoded.left_out.push_back(static_cast<int32_t>(q));
  }
  return encoded;
}

void Loader::gather(const float* raw, int64_t d, const std::vector<int32_t>& ids, float* target) {
  if (ids.empty()) return;
  CRINN_CHECK_CUDA(cudaSetDevice(device_));
  const auto all = static_cast<int64_t>(ids.size());
  const int64_t step = std::clamp<int64_t>(kBufferBytes / (4 * d), 1, all);
  DeviceArray<int32_t> wanted(step);
  DeviceArray<float> rows(step * d);
  for (int64_t first = 0; first < all; first += step) {
    const int64_t count = std::min(step, all - first);
    copy(wanted.get(), ids.data() + first, static_cast<std::size_t>(count) * sizeof(int32_t));
    gather_kernel<<<blocks(count * d), kThreads, 0, stream_>>>(raw, d, wanted.get(), count * d,
                                                               rows.get());
    CRINN_CHECK_CUDA(cudaGetLastError());
    copy(target + first * d, rows.get(), static_cast<std::size_t>(count * d) * sizeof(float));
  }
}

}  // namespace crinn::gpu
