// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/run_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/progress.h"

namespace crinn::train {

namespace {

constexpr const char* kMetricsFile = "metrics.jsonl";
constexpr const char* kSamplesFile = "samples.jsonl";

/// Keeps the complete lines of steps up to `step`.
void drop_later_lines(const std::filesystem::path& file, int64_t step) {
  if (!std::filesystem::exists(file)) return;
  std::istringstream in(read_file(file));
  std::string kept;
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || json.value("step", step + 1) > step) continue;
    kept += line + "\n";
  }
  write_file_atomic(file, kept);
}

nlohmann::json finite(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

std::string format_ratio(double ratio, double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high)) return fmt::format("{:.3f}x", ratio);
  return fmt::format("{:.3f}x [{:.3f}, {:.3f}]", ratio, low, high);
}

RunLog::RunLog(const std::filesystem::path& folder, bool tensorboard, int64_t resume_after,
               std::FILE* terminal)
    : folder_(folder), terminal_(terminal) {
  std::filesystem::create_directories(folder_);
  drop_later_lines(folder_ / kMetricsFile, resume_after);
  drop_later_lines(folder_ / kSamplesFile, resume_after);
  if (tensorboard) {
    events_ = std::make_unique<EventFile>(folder_ / "tensorboard",
                                          resume_after >= 0 ? resume_after + 1 : 0);
  }
}

void RunLog::append(const char* file, const std::string& line) {
  std::ofstream out(folder_ / file, std::ios::app | std::ios::binary);
  out << line << '\n';
  out.flush();
  if (!out) {
    throw Error(ErrorCategory::kData,
                fmt::format("run_log: cannot write {}", (folder_ / file).string()));
  }
}

void RunLog::say(const std::string& line) {
  if (!terminal_) return;
  fmt::print(terminal_, "{}\n", line);
  std::fflush(terminal_);
}

void RunLog::candidate(const CandidateRow& row, double seconds) {
  const bool valid = row.outcome == harness::Outcome::kValid;
  std::string first_line = row.evidence.substr(0, row.evidence.find('\n'));
  if (first_line.size() > 100) first_line = first_line.substr(0, 97) + "...";
  say(fmt::format(
      "  #{:<4} {:<12} {:<8} {}  {}{}", row.id, harness::to_string(row.role), to_string(row.origin),
      valid ? format_ratio(row.ratio, row.ratio_low, row.ratio_high)
            : fmt::format("{}{}{}", harness::to_string(row.outcome), first_line.empty() ? "" : ": ",
                          first_line),
      row.cached ? "known" : format_duration(seconds),
      row.parents.empty() ? "" : fmt::format("  from {}", fmt::join(row.parents, ","))));
  append(kSamplesFile,
         nlohmann::json{
             {"step", row.step},
             {"id", row.id},
             {"slot", row.slot},
             {"phase", row.phase},
             {"round", row.round},
             {"role", harness::to_string(row.role)},
             {"origin", to_string(row.origin)},
             {"outcome", harness::to_string(row.outcome)},
             {"stage", harness::to_string(row.stage)},
             {"reward", finite(row.reward)},
             {"auc_ratio", {finite(row.ratio), finite(row.ratio_low), finite(row.ratio_high)}},
             {"completion", row.completion},
             {"parents", row.parents},
             {"cached", row.cached},
             {"judge_seconds", row.judge_seconds},
             {"evidence", row.evidence.substr(0, 2000)}}
             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void RunLog::metrics(int64_t step, const Metrics& values) {
  nlohmann::ordered_json line = {{"step", step}};
  Metrics finite_values;
  for (const auto& [name, value] : values) {
    if (!std::isfinite(value)) continue;
    line[name] = value;
    finite_values.emplace_back(name, value);
  }
  append(kMetricsFile, line.dump());
  if (events_) events_->scalars(step, finite_values);
}

std::vector<MetricsLine> read_metrics(const std::filesystem::path& folder) {
  std::vector<MetricsLine> lines;
  if (!std::filesystem::exists(folder / kMetricsFile)) return lines;
  std::istringstream in(read_file(folder / kMetricsFile));
  for (std::string text; std::getline(in, text);) {
    const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("step")) continue;
    MetricsLine line;
    line.step = json.at("step").get<int64_t>();
    for (const auto& [name, value] : json.items()) {
      if (name != "step" && value.is_number()) line.values.emplace_back(name, value.get<double>());
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace crinn::train
