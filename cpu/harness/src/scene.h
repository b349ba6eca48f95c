// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crinn/harness/judge.h"
#include "shared_memory.h"

namespace crinn::harness {

/// A workload as workers see it: base rows in a secret order, unit rows under cosine, in sealed
/// memory. Ground truth stays here. The workload's views must outlive it.
class Scene {
 public:
  Scene(const Workload& workload, uint64_t seed);

  int64_t n() const { return workload_->base.rows; }
  int64_t d() const { return workload_->base.cols; }
  int k() const { return workload_->k; }
  int64_t query_count() const { return workload_->queries.rows; }
  ann::Metric metric() const { return workload_->metric; }
  const SharedMemory& base() const { return base_; }
  uint64_t seed() const { return seed_; }

  /// to_secret()[raw id] = id that workers see; from_secret() is its inverse.
  const std::vector<int32_t>& to_secret() const { return to_secret_; }
  const std::vector<int32_t>& from_secret() const { return from_secret_; }

  /// Query [d] as workers see it.
  const float* query(int64_t i) const;

  /// Of ids [k] for a query: how many are within the k-th distance (ties and a slack of 1e-6).
  int hits(int64_t query, const int32_t* ids) const;
  /// Why ids [k] are no answer: out of range, twice, padding in the wrong place.
  std::optional<std::string> fault(const int32_t* ids) const;

 private:
  const Workload* workload_;
  uint64_t seed_;
  SharedMemory base_;
  std::vector<int32_t> to_secret_, from_secret_;
  std::vector<float> unit_queries_;  ///< under cosine only
};

/// Why ids [k] over n vectors are no answer.
std::optional<std::string> answer_fault(const int32_t* ids, int k, int64_t n);

}  // namespace crinn::harness
