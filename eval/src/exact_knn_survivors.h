// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "crinn/ann/knn_certificate.h"

namespace crinn::eval {

/// A row that may be among the nearest, with its bounds.
struct Survivor {
  float lower, upper;
  int64_t id;
};

/// The rows that one query of exact_knn cannot exclude so far.
class Survivors {
 public:
  /// `room`: rows beyond k that are taken up before the threshold is tightened.
  void start(ann::KnnQuery query, int64_t k, int64_t room) {
    query_ = query;
    k_ = static_cast<std::size_t>(k);
    room_ = static_cast<std::size_t>(room);
    limit_ = k_ + room_;
  }
  float slope() const { return query_.slope; }
  float threshold() const { return threshold_; }
  bool full() const { return rows_.size() >= limit_; }
  /// Bounds alone do not thin them out (ties, near-duplicates): rank them by exact distance.
  bool crowded() const { return rows_.size() > std::max(4 * k_, kCrowd); }
  std::vector<Survivor>& rows() { return rows_; }

  void add(float lower, float upper, int64_t id) { rows_.push_back({lower, upper, id}); }

  /// Tightens the threshold to the k-th smallest upper bound, and drops what lies above it.
  void compact(std::vector<float>& scratch) {
    if (rows_.size() < k_) return;
    scratch.clear();
    for (const Survivor& row : rows_) scratch.push_back(row.upper);
    const auto kth = scratch.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(scratch.begin(), kth, scratch.end());
    threshold_ = std::min(threshold_, ann::knn_threshold(*kth, query_));
    std::erase_if(rows_, [&](const Survivor& row) { return row.lower > threshold_; });
    if (!crowded()) limit_ = std::max(limit_, rows_.size() + room_);
  }

 private:
  static constexpr std::size_t kCrowd = 1024;
  ann::KnnQuery query_{};
  std::size_t k_ = 1, room_ = 1, limit_ = 0;
  float threshold_ = std::numeric_limits<float>::infinity();
  std::vector<Survivor> rows_;
};

}  // namespace crinn::eval
