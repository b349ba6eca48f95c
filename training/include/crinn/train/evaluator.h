// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crinn/eval/dataset.h"
#include "crinn/harness/judge.h"

namespace crinn::train {

/// What turns a triple into a measurement. The judge in production.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  /// `give_up_below` as Judge::judge() has it.
  virtual harness::Measurement measure(const harness::Triple& candidate,
                                       const harness::Triple& baseline, uint64_t seed,
                                       double give_up_below) = 0;
  /// The cascade up to the smoke test.
  virtual harness::Measurement check(const harness::Triple& candidate) = 0;
  /// Names everything beside the sources and the seed that decides a measurement: data set,
  /// queries, options, machine.
  virtual std::string context() const = 0;
  virtual std::vector<std::string> layers() const = 0;
};

/// A judge over a slice [first_query, first_query + queries) of a data set's queries, which is
/// borrowed. Its truth must hold options' k columns.
class JudgeEvaluator final : public Evaluator {
 public:
  JudgeEvaluator(const eval::Dataset& dataset, int64_t first_query, int64_t queries, int k,
                 const harness::JudgeOptions& options);
  harness::Measurement measure(const harness::Triple& candidate, const harness::Triple& baseline,
                               uint64_t seed, double give_up_below) override;
  harness::Measurement check(const harness::Triple& candidate) override;
  std::string context() const override { return context_; }
  std::vector<std::string> layers() const override { return judge_->layers(); }

 private:
  std::vector<double> kth_distance_;
  std::unique_ptr<harness::Judge> judge_;
  std::string context_;
};

}  // namespace crinn::train
