// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace crinn::harness {

enum class Role { kConstruction, kSearch, kRefinement };
std::string_view to_string(Role role);  ///< "construction", "search", "refinement"

/// The source text of one module header.
struct ModuleSource {
  Role role = Role::kSearch;
  std::string name;  ///< for people: "baseline", a file name, an archive id
  std::string text;
};

/// The three modules of an index.
struct Triple {
  ModuleSource construction, search, refinement;
  ModuleSource& at(Role role);
  const ModuleSource& at(Role role) const;
};

/// The stages of the cascade, cheapest first. `stage` of a Measurement is the last one entered.
enum class Stage { kExtract, kScreen, kSyntax, kCompile, kSmoke, kSweep, kRace, kDone };
std::string_view to_string(Stage stage);

/// How it ended, ordered by how far a candidate came.
enum class Outcome {
  kNoCode,          ///< no module could be extracted
  kBanned,          ///< the screen found a construct that no module may use
  kDoesNotCompile,  ///< evidence: the compiler's messages
  kCrashed,         ///< a signal, an exit, a forbidden system call
  kTimedOut,        ///< a deadline of the stage
  kWrong,           ///< ids out of range, not unique, stale, not reproducible
  kLowRecall,       ///< the recall band is not reached at any ef
  kOverCap,         ///< build time, memory or degree over the cap
  kValid,
};
std::string_view to_string(Outcome outcome);

/// One ef of one system in one instance (a fresh process pair).
struct RacePoint {
  int ef = 0;
  double recall = 0;             ///< recall@k by distance with ties, of the timed results
  double seconds_per_query = 0;  ///< CPU time read by the parent; robust mean over slices
  double p50_us = 0, p95_us = 0, p99_us = 0;  ///< latency of single queries, wall
  double distances_per_query = 0;             ///< as the module reports it
  int64_t slices = 0;
  /// Only under JudgeOptions::keep_answers, in the first instance; no part of the JSON.
  std::vector<int32_t> ids = {};       ///< [queries, k], the workload's order and ids; -1 beyond n
  std::vector<float> latency_us = {};  ///< [queries], wall
};

/// Queries of one deck, interleaved, one pair of processes.
struct RaceInstance {
  std::vector<RacePoint> baseline, candidate;
};

/// What building and preparing cost one system.
struct BuildCost {
  double build_seconds = 0;  ///< graph construction + preparing; CPU time read by the parent
  double index_bytes =
      0;  ///< resident private memory after preparing + graph, without the base vectors
};

enum class NoiseGrade { kQuiet, kNoisy, kUnusable };
std::string_view to_string(NoiseGrade grade);

struct Measurement {
  Outcome outcome = Outcome::kNoCode;
  Stage stage = Stage::kExtract;
  std::string evidence;  ///< why it failed: compiler messages, the query, the cap; empty when valid
  std::vector<RaceInstance> instances;
  BuildCost baseline_cost, candidate_cost;
  std::vector<std::string> layers;  ///< isolation layers that were active
  std::string machine;              ///< fingerprint: CPU, kernel, compiler, flags
  std::string baseline_version;     ///< hash of the baseline triple's source
  NoiseGrade noise = NoiseGrade::kQuiet;
  double steal_fraction = 0;
  double judge_seconds = 0;  ///< wall time of the whole verdict, of which:
  double prove_seconds = 0;  ///< screen, compile, smoke test
  double sweep_seconds = 0;  ///< graph, preparing, coarse sweep
  double race_seconds = 0;   ///< preparing fresh processes, racing
  uint64_t seed = 0;

  bool valid() const { return outcome == Outcome::kValid; }
};

/// One JSON object; from_json(to_json(m)) == m. Throws Error (data) on anything else.
std::string to_json(const Measurement& measurement);
Measurement measurement_from_json(std::string_view json);

}  // namespace crinn::harness
