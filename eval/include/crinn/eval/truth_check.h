// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "crinn/eval/dataset.h"

namespace crinn::eval {

/// How random queries fared that were computed again.
struct Verification {
  int64_t queries = 0;       ///< computed again
  int64_t tied = 0;          ///< the same distances, but other ids of a tie
  int64_t wrong = 0;         ///< other distances
  int64_t first_wrong = -1;  ///< the first query that is wrong, -1: none
};

/// Computes random queries of a truth again, every distance in fp64 by exact_distance, while the
/// base goes by in slices.
class TruthCheck {
 public:
  /// min(count, all) queries, chosen by `seed`. Borrows the truth and the queries [nq, d].
  TruthCheck(const GroundTruth& truth, MatrixView<const float> queries, ann::Metric metric,
             int64_t count, uint64_t seed);

  /// The base rows [first, first + rows.rows). All of them, once each.
  void add(MatrixView<const float> rows, int64_t first, int threads);
  Verification result() const;

 private:
  using Neighbor = std::pair<double, int64_t>;  // (distance, id): ordered as the truth is
  enum class Agreement { kSame, kTied, kWrong };
  struct Query {
    int64_t id = 0;
    std::vector<Neighbor> nearest;  // of the rows so far, sorted
    std::vector<double> stated;     // [k] distances of the truth's ids, NaN: not seen
  };
  Agreement compare(const Query& query) const;

  const GroundTruth& truth_;
  MatrixView<const float> queries_;
  ann::Metric metric_;
  std::vector<Query> chosen_;
};

/// The check of a data set with its base in memory.
Verification verify_truth(const Dataset& dataset, int64_t count, uint64_t seed, int threads);

}  // namespace crinn::eval
