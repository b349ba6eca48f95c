// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "crinn/eval/ground_truth.h"
#include "crinn/eval/truth_check.h"

namespace crinn::eval {

/// Ground truth of a base that never has to fit in memory: two flat files "BASE,QUERIES", of which
/// the base is read in slices, each searched exactly and merged. The same neighbours as with the
/// base in memory.
class StreamedTruth {
 public:
  /// Whether `name` is two flat files.
  static bool serves(std::string_view name);

  /// As load_dataset(); reads the queries, of which the first `query_limit` stay (0: all), and of
  /// the base the header. Slices take at most `slice_bytes` as fp32. Throws Error (usage, data).
  StreamedTruth(std::string_view name, std::string_view metric_override, int64_t query_limit,
                int64_t slice_bytes);
  ~StreamedTruth();

  const std::string& name() const { return name_; }
  ann::Metric metric() const { return metric_; }
  int64_t base_rows() const;
  /// Slices that the base takes.
  int64_t slices() const;

  /// The nearest k of each query. kCpu or kGpu; errors as prepare_truth().
  GroundTruth find(TruthSource source, int k, int threads, const TruthResources& resources) const;
  /// Reads the base again and checks `count` random queries of `truth`.
  Verification verify(const GroundTruth& truth, int64_t count, uint64_t seed, int threads) const;

 private:
  struct Base;
  std::string name_;
  ann::Metric metric_ = ann::Metric::kL2;
  Matrix queries_;
  std::unique_ptr<Base> base_;
  int64_t slice_rows_ = 0;
};

}  // namespace crinn::eval
