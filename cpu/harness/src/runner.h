// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compile.h"
#include "graph_store.h"
#include "scene.h"
#include "worker_process.h"

namespace crinn::harness {

/// One system under measurement: a compiled pipeline over a graph.
struct System {
  std::string name;  ///< for evidence
  Compiled pipeline;
  const SharedMemory* graph = nullptr;
  int64_t graph_bytes = 0;
};

/// What one batch did.
struct BatchResult {
  double cpu_seconds = 0, wall_seconds = 0;
  uint64_t distances = 0;    ///< of this batch, as the module reports it
  std::vector<int32_t> ids;  ///< [count, k], copied out
};

/// A worker with a prepared pipeline on a scene, and batches of queries through it.
class Runner {
 public:
  static Expected<Runner> start(const System& system, const Scene& scene, int core, uint64_t seed,
                                double deadline_seconds);

  /// Runs these queries at this effort. Results are poisoned before, copied out after, and
  /// checked: an answer that is none is kWrong.
  Expected<BatchResult> search(std::span<const int64_t> queries, int ef);
  /// The same with vectors [count, d] that are no queries of the workload.
  Expected<BatchResult> search(const std::vector<float>& vectors, int ef);
  /// Single queries, latency of each in microseconds as seen inside the worker. `ids` (may be null)
  /// receives the answers [count, k].
  Expected<std::vector<float>> latencies(std::span<const int64_t> queries, int ef,
                                         std::vector<int32_t>* ids = nullptr);

  /// Whether this process was given the query before.
  bool has_seen(int64_t query) const { return seen_[static_cast<std::size_t>(query)]; }
  double prepare_seconds() const { return prepare_seconds_; }
  int64_t private_bytes() const { return worker_.private_bytes(); }
  static constexpr int64_t kMaxBatch = 4096;

 private:
  Runner(WorkerProcess worker, const Scene& scene)
      : worker_(std::move(worker)),
        scene_(&scene),
        seen_(static_cast<std::size_t>(scene.query_count()), false) {}
  /// Puts queries where the worker reads them.
  void place(std::span<const int64_t> queries);
  /// Runs what was placed.
  Expected<BatchResult> run(protocol::Op op, int64_t count, int ef);

  WorkerProcess worker_;
  const Scene* scene_;
  std::vector<bool> seen_;
  double prepare_seconds_ = 0;
  double cpu_mark_ = 0;
  uint64_t distances_ = 0;
};

/// recall@k of a batch.
double recall(const Scene& scene, std::span<const int64_t> queries, const BatchResult& result);

}  // namespace crinn::harness
