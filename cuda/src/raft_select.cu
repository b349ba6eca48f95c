// SPDX-License-Identifier: Apache-2.0
// The only file that includes RAFT: it takes a minute and 1 GB to compile.
#include "raft_select.h"

#include <exception>
#include <raft/core/device_mdspan.hpp>
#include <raft/core/resource/cuda_stream.hpp>
#include <raft/core/resource/device_memory_resource.hpp>
#include <raft/core/resources.hpp>
#include <raft/matrix/select_k.cuh>
#include <rmm/mr/cuda_memory_resource.hpp>
#include <rmm/mr/pool_memory_resource.hpp>

#include "crinn/base/error.h"
#include "device_memory.h"

namespace crinn::gpu {
namespace {

constexpr std::size_t kPoolBytes = std::size_t{64} << 20;  // at first; it grows

/// RAFT's and RMM's own exceptions as ours.
template <class Body>
void translate(const char* operation, const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    throw Error(ErrorCategory::kDevice, std::string(operation) + ": " + error.what());
  }
}

}  // namespace

struct RaftSelect::Resources {
  raft::resources handle;
};

std::string raft_missing() { return ""; }

RaftSelect::RaftSelect() : resources_(std::make_unique<Resources>()) {
  translate("gpu::RaftSelect", [&] {
    raft::resource::set_cuda_stream(resources_->handle, ::cuda::stream_ref{cudaStream_t{}});
    raft::resource::set_workspace_resource(resources_->handle,
                                           raft::mr::device_resource{rmm::mr::pool_memory_resource(
                                               rmm::mr::cuda_memory_resource{}, kPoolBytes)});
  });
}

RaftSelect::~RaftSelect() = default;

void RaftSelect::select_smallest(const float* values, int64_t rows, int64_t n, int64_t k,
                                 float* out_values, int32_t* out_ids) const {
  translate("raft::matrix::select_k", [&] {
    raft::matrix::select_k<float, int32_t>(
        resources_->handle, raft::make_device_matrix_view<const float, int64_t>(values, rows, n),
        std::nullopt, raft::make_device_matrix_view<float, int64_t>(out_values, rows, k),
        raft::make_device_matrix_view<int32_t, int64_t>(out_ids, rows, k), true);
  });
}

Smallest select_smallest(std::span<const float> values, int64_t rows, int64_t n, int64_t k) {
  DeviceArray<float> all(rows * n), smallest(rows * k);
  DeviceArray<int32_t> ids(rows * k);
  all.upload(0, values.data(), rows * n);
  RaftSelect().select_smallest(all.get(), rows, n, k, smallest.get(), ids.get());
  Smallest result{std::vector<float>(static_cast<std::size_t>(rows * k)),
                  std::vector<int32_t>(static_cast<std::size_t>(rows * k))};
  smallest.download(result.values.data(), 0, rows * k);
  ids.download(result.ids.data(), 0, rows * k);
  return result;
}

}  // namespace crinn::gpu
