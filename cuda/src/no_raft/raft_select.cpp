// SPDX-License-Identifier: Apache-2.0
#include "../raft_select.h"

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

[[noreturn]] void refuse(const char* operation) {
  throw Error(ErrorCategory::kDevice, std::string(operation) + ": " + raft_missing());
}

}  // namespace

struct RaftSelect::Resources {};

std::string raft_missing() {
  return "this build has no RAFT (its wheels come with CRINN_RAFT=ON cmake/bootstrap.sh build, and "
         "it needs CUDA)";
}

RaftSelect::RaftSelect() { refuse("gpu::RaftSelect"); }

RaftSelect::~RaftSelect() = default;

void RaftSelect::select_smallest(const float*, int64_t, int64_t, int64_t, float*, int32_t*) const {
  refuse("gpu::RaftSelect");
}

Smallest select_smallest(std::span<const float>, int64_t, int64_t, int64_t) {
  refuse("gpu::select_smallest");
}

}  // namespace crinn::gpu
