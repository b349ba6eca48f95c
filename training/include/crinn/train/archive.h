// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crinn/harness/measurement.h"

namespace crinn::train {

/// Where a candidate came from.
enum class Origin { kBaseline, kExample, kCarried, kRandom, kEdit, kPolicy, kVerify };
std::string_view to_string(Origin origin);  ///< "baseline", "example", "carried", ...

/// One candidate of a run. Its measurement is a row of its own, found by `measurement_key`.
struct CandidateRow {
  int64_t id = 0;    ///< given by the archive, from 1
  int64_t step = 0;  ///< the run's step that proposed it
  int slot = 0;      ///< its place in that step; (step, slot) is unique
  int phase = 0;     ///< index in the schedule: rewards compare within one phase
  int round = 0;
  harness::Role role = harness::Role::kSearch;
  Origin origin = Origin::kPolicy;
  std::string source_hash;       ///< of the normalised source
  std::string source;            ///< module header; empty when nothing could be decoded
  std::string completion;        ///< canonical text form; empty for sources no codec wrote
  std::vector<int64_t> parents;  ///< ids of the exemplars it was made from
  std::string measurement_key;   ///< empty when nothing was measured (no code)
  harness::Outcome outcome = harness::Outcome::kNoCode;
  harness::Stage stage = harness::Stage::kExtract;
  std::string evidence;
  double reward = 0;
  double ratio = 0, ratio_low = 0, ratio_high = 0;  ///< area ratio to the baseline, 95 % interval
  double ratio_error = 0;   ///< standard error of log(ratio) over instances; NaN where unknown
  int64_t policy_step = 0;  ///< updates behind the weights that sampled it
  uint64_t seed = 0;        ///< of the measurement
  bool cached = false;      ///< the measurement was found, not made
  double judge_seconds = 0;
  std::string machine;  ///< fingerprint
  double created = 0;   ///< Unix time, s
};

/// Every candidate with its source, lineage and measurement, in one SQLite file (WAL, synchronous
/// FULL): what add() or store() returned from survives a kill and a power cut. Faults and files
/// that are no archive of this version throw Error (data) that names the file.
class Archive {
 public:
  /// Opens or creates.
  explicit Archive(const std::filesystem::path& file);
  ~Archive();
  Archive(Archive&&) noexcept;

  /// A finished measurement, committed before it returns. A key that is there already is left,
  /// or replaced: a race that was cut short may be run to its end.
  void store(const std::string& key, const harness::Measurement& measurement, bool replace = false);
  std::optional<harness::Measurement> find(const std::string& key) const;
  /// Copies every measurement of another archive whose key is not here; returns their number.
  int64_t import_measurements(const std::filesystem::path& other);
  int64_t measurements() const;

  /// Adds a candidate, committed before it returns; gives it its id.
  int64_t add(CandidateRow& row);
  /// Rows in the order of their ids; of one phase, or of all.
  std::vector<CandidateRow> candidates(std::optional<int> phase = {}) const;
  std::optional<CandidateRow> candidate(int64_t id) const;
  /// Forgets the candidates (never the measurements) of later steps: what a resumed run proposes
  /// again and finds measured already.
  void truncate_after(int64_t step);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace crinn::train
