// SPDX-License-Identifier: Apache-2.0
// The baseline's refinement, unchanged by run hour11.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/float_table.h"
#include "crinn/ann/toolbox/prefetch.h"

namespace crinn::ann::champion {

/// Re-ranks the nearer candidates by distance to the vectors: at half precision where vectors are
/// long (half the bytes to fetch, and rounding errors average out) and fit its range, else at full
/// precision. Of long vectors, those that the search ranks far behind the k-th are not looked at
/// again.
class Refinement {
 public:
  struct Scratch {
    Fp16Table::Query query;
  };

  explicit Refinement(const RefinementInput& input) : base_(input.base), metric_(input.metric) {
    if (base_.cols < kLong || !fits_half(base_)) return;
    CodeParams params;
    params.threads = input.threads;
    half_ = std::make_unique<Fp16Table>(base_, metric_, params);
  }

  Scratch make_scratch() const {
    Scratch scratch;
    if (half_) scratch.query = half_->make_query();
    return scratch;
  }

  int refine(const float* query, std::span<Candidate> candidates, bool exact, int k,
             Scratch& scratch, int32_t* ids) const {
    const auto found = static_cast<int>(std::min(candidates.size(), static_cast<std::size_t>(k)));
    if (!exact) {
      const std::size_t looked_at = base_.cols < kLong
                                        ? candidates.size()
                                        : kPerResult * static_cast<std::size_t>(k) + kSlack;
      candidates = candidates.first(std::min(candidates.size(), looked_at));
      if (half_) half_->prepare(query, scratch.query);
      for (std::size_t i = 0; i < std::min(kAhead, candidates.size()); ++i) {
        prefetch(candidates[i].id);
      }
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        if (i + kAhead < candidates.size()) prefetch(candidates[i + kAhead].id);
        const int32_t id = candidates[i].id;
        candidates[i].estimate = half_ ? half_->distance(scratch.query, id)
                                       : distance(metric_, query, base_.row(id), base_.cols);
      }
      std::partial_sort(candidates.begin(), candidates.begin() + found, candidates.end(), nearer);
    }
    for (int i = 0; i < found; ++i) ids[i] = candidates[static_cast<std::size_t>(i)].id;
    return found;
  }

 private:
  static constexpr std::size_t kAhead = 3, kPerResult = 4, kSlack = 20;
  static constexpr int64_t kLong = 32;

  /// Whether rounding to half precision moves the vectors little against how far they are spread:
  /// not so for values that overflow, that are denormal, or that share a large offset.
  static bool fits_half(MatrixView<const float> base) {
    constexpr int64_t kSample = 1000;
    constexpr double kTolerance = 1e-6;
    float largest = 0;
    for (int64_t i = 0; i < base.rows; ++i) {
      const float* row = base.row(i);
      for (int64_t j = 0; j < base.cols; ++j) largest = std::max(largest, std::fabs(row[j]));
    }
    if (largest > 60000.0f) return false;
    double moved = 0, spread = 0;
    const int64_t rows = std::min(base.rows, kSample);
    for (int64_t j = 0; j < base.cols; ++j) {
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < rows; ++i) {
        const float value = base.row(i * base.rows / rows)[j];
        const double error = static_cast<double>(value - to_float(to_fp16(value)));
        moved += error * error;
        sum += static_cast<double>(value);
        squares += static_cast<double>(value) * static_cast<double>(value);
      }
      spread += squares - sum * sum / static_cast<double>(rows);
    }
    return moved <= kTolerance * spread;
  }

  void prefetch(int32_t id) const {
    if (half_) {
      half_->prefetch(id);
    } else {
      prefetch_record(base_.row(id), base_.cols * 4);
    }
  }

  MatrixView<const float> base_;
  Metric metric_;
  std::unique_ptr<Fp16Table> half_;
};

}  // namespace crinn::ann::champion
