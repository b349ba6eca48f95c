// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "prover.h"
#include "race.h"
#include "scene.h"
#include "sweep.h"

namespace crinn::harness {

/// A graph in the memory of one scene.
struct PlacedGraph {
  SharedMemory memory;
  int64_t bytes = 0;
  double build_seconds = 0;
};

/// What the coarse sweep found out about a system.
struct Profile {
  Sweep sweep;
  BuildCost cost;
  std::optional<Runner> runner;  ///< the process that was measured, still prepared
};

/// The test stand: one workload, the graphs on it, and what is known about the systems that ran.
class Stand {
 public:
  /// `empty_worker_bytes`: private memory of a worker without a module.
  Stand(const JudgeOptions& options, const Workload& workload, int core,
        int64_t empty_worker_bytes);

  /// Puts the base into the secret order of this seed.
  void use_seed(uint64_t seed);
  const Scene& scene() const { return *scene_; }

  /// The graph of a construction, from the cache or from a build in a worker.
  Expected<std::shared_ptr<PlacedGraph>> graph_of(const Compiled& construction);
  /// Prepares in a fresh worker, measures what it costs, sweeps.
  Expected<Profile> profile(const System& system, double build_seconds, uint64_t seed) const;

  SweepOptions sweep_options() const;
  /// Anonymous memory beyond an empty worker's, and the graph.
  double index_bytes(int64_t private_bytes, const System& system) const;
  std::optional<Failure> check_memory(double candidate_bytes, double baseline_bytes) const;
  /// Caps on build time, memory, work put off; and the recall that must be reached.
  std::optional<Failure> check(const Profile& candidate, const Profile& baseline) const;

 private:
  Expected<GraphData> build(const Compiled& construction) const;
  std::optional<Failure> check_recall(const Sweep& candidate, const Sweep& baseline) const;

  const JudgeOptions& options_;
  const Workload& workload_;
  int core_;
  int64_t empty_worker_bytes_;
  std::string workload_hash_;
  std::optional<Scene> scene_;
  std::map<std::string, std::shared_ptr<PlacedGraph>> placed_;  // in this scene, by graph key
};

}  // namespace crinn::harness
