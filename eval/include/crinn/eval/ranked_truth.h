// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "crinn/eval/ground_truth.h"

namespace crinn::gpu {
class Comm;
}

namespace crinn::eval {

struct OpenDataset;

/// Ground truth that several ranks find together: each reads a share of the base, slice by slice,
/// and searches it. The same neighbours as one process finds. Each rank has all queries; of a data
/// set that is generated or decompressed, the whole base too.
class RankedTruth {
 public:
  /// As load_dataset(), but reads nothing of a base in files. `query_limit` queries stay (0: all).
  /// Borrows `comm`. Throws Error (usage, data).
  RankedTruth(gpu::Comm& comm, std::string_view name, std::string_view metric_override,
              int64_t query_limit);
  ~RankedTruth();

  const std::string& name() const;
  ann::Metric metric() const { return metric_; }
  int64_t base_rows() const;

  /// The nearest k of each query, by kGpu, else by the CPU; the cache is neither read nor written.
  /// The limit of memory and the devices are this rank's; of a limit for the CPU, half is for
  /// vectors. What is thrown on one rank is thrown on all; errors as prepare_truth() and
  /// gpu::ranked_knn().
  GroundTruth find(TruthSource source, int k, int threads, const TruthResources& resources) const;

 private:
  gpu::Comm& comm_;
  ann::Metric metric_ = ann::Metric::kL2;
  std::unique_ptr<OpenDataset> data_;
};

}  // namespace crinn::eval
