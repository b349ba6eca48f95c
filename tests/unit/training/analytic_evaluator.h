// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "crinn/base/hash.h"
#include "crinn/train/evaluator.h"
#include "crinn/train/source_key.h"

namespace crinn::train {

/// Thrown in place of a kill.
struct Killed {};

/// Stands in for the judge where the loop's own logic is tested: a module's speed is a fixed
/// function of its source. Counts its calls, and "kills" the process before call number `kill_at`.
class AnalyticEvaluator final : public Evaluator {
 public:
  explicit AnalyticEvaluator(std::function<double(const harness::Triple&)> speed,
                             std::string context = "analytic")
      : speed_(std::move(speed)), context_(std::move(context)) {}

  harness::Measurement measure(const harness::Triple& candidate, const harness::Triple&,
                               uint64_t seed, double give_up_below) override {
    if (++calls == kill_at) throw Killed{};
    const double speed = speed_(candidate);
    harness::Measurement m;
    m.seed = seed;
    m.machine = "analytic";
    if (speed <= 0) {
      m.outcome = harness::Outcome::kWrong;
      m.stage = harness::Stage::kSmoke;
      m.evidence = "wrong on purpose";
      return m;
    }
    m.outcome = harness::Outcome::kValid;
    m.noise = noise;
    m.stage = harness::Stage::kDone;
    for (int i = 0; i < 3; ++i) {
      harness::RaceInstance instance;
      for (const double recall : {0.80, 0.86, 0.90, 0.94, 0.97, 0.995}) {
        harness::RacePoint point;
        point.recall = recall;
        point.seconds_per_query = 1e-4 / (1.05 - recall);
        instance.baseline.push_back(point);
        // Instances differ by a little, so that an interval exists.
        point.seconds_per_query /= speed * (1 + 0.002 * (i - 1));
        instance.candidate.push_back(point);
      }
      m.instances.push_back(instance);
      if (speed < give_up_below) break;
    }
    return m;
  }
  harness::Measurement check(const harness::Triple& candidate) override {
    return measure(candidate, candidate, 0, 0);
  }
  std::string context() const override { return context_; }
  std::vector<std::string> layers() const override { return {}; }

  int calls = 0;
  int kill_at = -1;
  harness::NoiseGrade noise = harness::NoiseGrade::kQuiet;

 private:
  std::function<double(const harness::Triple&)> speed_;
  std::string context_;
};

/// A speed in (0.5, 2) that looks random, from the candidate's search and refinement sources; one
/// in eight programs is wrong.
inline double hashed_speed(const harness::Triple& triple) {
  const std::string hash = source_hash(triple.search.text + triple.refinement.text);
  const double place = static_cast<double>(std::stoul(hash.substr(0, 6), nullptr, 16)) / 0xFFFFFF;
  return place < 0.125 ? 0 : 0.5 + 1.5 * place;
}

}  // namespace crinn::train
