// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crinn/train/archive.h"
#include "crinn/train/event_file.h"

namespace crinn::train {

using Metrics = std::vector<std::pair<std::string, double>>;

/// What a run tells: metrics.jsonl, samples.jsonl and TensorBoard events in its folder, and lines
/// for people on `terminal` (stdout in the tool, nullptr: none).
class RunLog {
 public:
  /// `resume_after` >= 0: lines of later steps, which the resumed run writes again, are dropped.
  RunLog(const std::filesystem::path& folder, bool tensorboard, int64_t resume_after,
         std::FILE* terminal);

  void say(const std::string& line);
  /// A line a candidate, on the terminal and in samples.jsonl.
  void candidate(const CandidateRow& row, double seconds);
  /// metrics.jsonl and TensorBoard; values that are not finite are left out.
  void metrics(int64_t step, const Metrics& values);

 private:
  void append(const char* file, const std::string& line);
  std::filesystem::path folder_;
  std::unique_ptr<EventFile> events_;
  std::FILE* terminal_;
};

/// "1.31x [1.27, 1.35]"; without the interval where it is not known.
std::string format_ratio(double ratio, double low, double high);

/// The metrics of a finished or running run, in the order of their steps.
struct MetricsLine {
  int64_t step = 0;
  Metrics values;
};
std::vector<MetricsLine> read_metrics(const std::filesystem::path& folder);

}  // namespace crinn::train
