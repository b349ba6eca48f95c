// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compile.h"
#include "crinn/ann/metric.h"
#include "graph_store.h"
#include "shared_memory.h"

namespace crinn::harness {

/// One tiny data set of the smoke test.
struct SmokeCase {
  std::string name;  ///< "n 60, d 127, angular"
  int64_t n = 0, d = 0;
  ann::Metric metric = ann::Metric::kL2;
  int64_t base_offset = 0;                     ///< bytes
  std::vector<float> queries;                  ///< [count, d]; the last repeats the first
  std::vector<std::vector<double>> distances;  ///< [count][n] exact
  double least_recall = 0;                     ///< at a large ef; 0: not checked
};

/// Tiny sets on both sides of every usual boundary, and what every module must do on them.
class SmokeTest {
 public:
  explicit SmokeTest(uint64_t seed);

  /// The graphs that a construction module makes of the cases.
  Expected<std::vector<GraphData>> build(const Compiled& construction, int degree,
                                         int ef_construction, double deadline_seconds) const;
  /// Runs a pipeline on all cases; a Failure names the case, k, ef and query.
  std::optional<Failure> run(const Compiled& pipeline, const std::vector<GraphData>& graphs,
                             double deadline_seconds) const;

 private:
  void add(int64_t n, int64_t d, ann::Metric metric, const char* kind, uint64_t seed);
  std::optional<Failure> run_case(WorkerProcess& worker, const SmokeCase& test,
                                  int64_t graph_offset, double deadline) const;

  std::vector<SmokeCase> cases_;
  std::vector<float> values_;  ///< of all cases, each at a multiple of 64 bytes
  SharedMemory base_;
  int64_t max_exchange_ = 0;
};

}  // namespace crinn::harness
