// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"
#include "crinn/harness/measurement.h"

namespace crinn::harness {

/// What candidates are measured on. Views are borrowed for the judge's life.
struct Workload {
  std::string name;
  ann::Metric metric = ann::Metric::kL2;
  MatrixView<const float> base;     ///< [n, d] raw vectors; the judge normalises under kCosine
  MatrixView<const float> queries;  ///< [nq, d] raw vectors
  /// [nq] exact distance of the k-th neighbour in ann::Metric's sense (squared L2, minus the inner
  /// product, 2 - 2 cos), fp64. An id counts as found when its exact distance is <= this, with a
  /// relative slack of 1e-6.
  std::span<const double> kth_distance;
  int k = 10;
};

struct JudgeOptions {
  std::filesystem::path work_folder;  ///< compile cache, graph cache; created where missing
  int core = -1;                      ///< the core that races; -1: the last one available
  int degree = 32;
  int ef_construction = 200;
  int build_threads = 1;
  uint64_t seed = 0;
  double band_low = 0.85, band_high = 0.95;  ///< the recall band of the reward
  double sweep_low = 0.80, sweep_high = 0.98;
  int min_points = 8;            ///< points of each curve inside the sweep band
  int instances = 2;             ///< fresh process pairs
  double race_seconds = 6;       ///< CPU time budget of one race, both sides, all instances
  double slice_seconds = 0.005;  ///< target length of one timed slice
  double build_time_cap = 3, memory_cap = 3;  ///< multiples of the baseline's
  bool keep_answers = false;  ///< hand out every query's ids and latency (RacePoint::ids)
  double top_recall = 0.99;   ///< must be reachable at some ef where the baseline reaches it
  double compile_deadline_seconds = 30, smoke_deadline_seconds = 20, build_deadline_seconds = 600;

  // Defences that only tests of the judge switch off, to see what another layer does alone.
  bool screen = true;
  bool check_lazy = true;
  bool check_repeats = true;
};

/// The cascade: screen -> syntax -> compile in the jail -> smoke -> build and sweep -> race.
/// Probes the machine's isolation layers at construction; throws Error (device) when a mandatory
/// one is missing.
class Judge {
 public:
  Judge(JudgeOptions options, Workload workload);
  ~Judge();
  Judge(Judge&&) noexcept;

  /// Measures `candidate` against `baseline` on the workload. A candidate's failure is a value; an
  /// Error means that the machine or the baseline is at fault. Compiled objects, graphs and the
  /// baseline's sweep are cached in the work folder by content. `seed` renews query order,
  /// permutation of ids and rotation of slices: use a fresh one to confirm. A candidate whose first
  /// pair of processes shows a ratio of areas below `give_up_below` is not raced further: valid,
  /// with one instance.
  Measurement judge(const Triple& candidate, const Triple& baseline, uint64_t seed,
                    double give_up_below = 0);

  /// The cascade up to the smoke test: what proves that a module works, without racing.
  Measurement check(const Triple& candidate);

  const std::vector<std::string>& layers() const;
  std::string machine() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads the triple that ships in the tree: which = "baseline" or "champion".
Triple load_triple(std::string_view which);

/// Where the tree's module headers lie (build tree or install tree).
std::filesystem::path module_folder();

}  // namespace crinn::harness
