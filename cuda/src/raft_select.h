// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace crinn::gpu {

/// What is missing where this build has no RAFT, and how to get it; else empty.
std::string raft_missing();

/// RAFT's select_k, all that is used of RAFT. Its scratch comes from a pool that lives as long as
/// the object.
class RaftSelect {
 public:
  /// Of the current device. Throws Error (device) where the build has no RAFT.
  RaftSelect();
  ~RaftSelect();
  RaftSelect(const RaftSelect&) = delete;
  RaftSelect& operator=(const RaftSelect&) = delete;

  /// The k smallest of each row, 1 <= k <= n < 2^31: values [rows, n] to out_values and their
  /// columns out_ids [rows, k], all row-major in device memory. In no order; of equal values at the
  /// k-th place, any. Finite values only. Runs in the default stream. Throws Error (device).
  void select_smallest(const float* values, int64_t rows, int64_t n, int64_t k, float* out_values,
                       int32_t* out_ids) const;

 private:
  struct Resources;
  std::unique_ptr<Resources> resources_;
};

/// The same from host memory to host memory, for tests. Throws Error (device) without a device.
struct Smallest {
  std::vector<float> values;  ///< [rows, k]
  std::vector<int32_t> ids;   ///< [rows, k]
};
Smallest select_smallest(std::span<const float> values, int64_t rows, int64_t n, int64_t k);

}  // namespace crinn::gpu
