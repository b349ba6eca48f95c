// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/evaluator.h"

#include <fmt/format.h>

#include "crinn/base/error.h"
#include "crinn/eval/ground_truth.h"

namespace crinn::train {

JudgeEvaluator::JudgeEvaluator(const eval::Dataset& dataset, int64_t first_query, int64_t queries,
                               int k, const harness::JudgeOptions& options)
    : kth_distance_(eval::kth_distances(dataset.truth, k)) {
  if (first_query < 0 || queries < 1 || first_query + queries > dataset.queries.rows()) {
    throw Error(
        ErrorCategory::kUsage,
        fmt::format("judge_evaluator: queries [{}, {}) of {} are asked for, it has {}", first_query,
                    first_query + queries, dataset.name, dataset.queries.rows()));
  }
  harness::Workload workload;
  workload.name = dataset.name;
  workload.metric = dataset.metric;
  workload.base = dataset.base.view();
  workload.queries = dataset.queries.view().slice(first_query, queries);
  workload.kth_distance =
      std::span<const double>(kth_distance_)
          .subspan(static_cast<std::size_t>(first_query), static_cast<std::size_t>(queries));
  workload.k = k;
  judge_ = std::make_unique<harness::Judge>(options, workload);
  // Deadlines and folders decide whether there is a result, not which.
  context_ = fmt::format(
      "{} queries={}+{} k={} degree={} efc={} seed={} band={}-{} sweep={}-{} points={} "
      "instances={} seconds={} slice={} caps={},{} top={} machine={}",
      dataset.content_hash, first_query, queries, k, options.degree, options.ef_construction,
      options.seed, options.band_low, options.band_high, options.sweep_low, options.sweep_high,
      options.min_points, options.instances, options.race_seconds, options.slice_seconds,
      options.build_time_cap, options.memory_cap, options.top_recall, judge_->machine());
}

harness::Measurement JudgeEvaluator::measure(const harness::Triple& candidate,
                                             const harness::Triple& baseline, uint64_t seed,
                                             double give_up_below) {
  return judge_->judge(candidate, baseline, seed, give_up_below);
}

harness::Measurement JudgeEvaluator::check(const harness::Triple& candidate) {
  return judge_->check(candidate);
}

}  // namespace crinn::train
