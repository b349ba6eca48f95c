// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/run_state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {

namespace {

constexpr int kStateVersion = 2;
constexpr std::string_view kPrefix = "step-";

/// Content and names of a folder reach the disk before it is renamed.
void sync_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths = {folder};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    paths.push_back(entry.path());
  }
  for (const auto& path : paths) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
      if (fd >= 0) close(fd);
      throw Error(ErrorCategory::kData, fmt::format("checkpoint: cannot sync {}", path.string()));
    }
    close(fd);
  }
}

std::vector<std::filesystem::path> complete_folders(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> folders;
  if (!std::filesystem::exists(folder)) return folders;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPrefix) && entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());  // numbers are zero-padded
  return folders;
}

double finite_or_zero(double value) { return std::isfinite(value) ? value : 0; }

}  // namespace

std::string to_json(const RunState& s) {
  return nlohmann::json{
      {"version", kStateVersion},
      {"step", s.step},
      {"phase", s.phase},
      {"seeded", s.seeded},
      {"phase_step", s.phase_step},
      {"phase_started", s.phase_started},
      {"phase_seconds", finite_or_zero(s.phase_seconds)},
      {"elapsed", s.elapsed},
      {"best", s.best},
      {"best_ratio", {s.best_ratio.estimate, s.best_ratio.low, s.best_ratio.high}},
      {"best_seen", s.best_seen},
      {"policy_step", s.policy_step},
      {"num_tokens", s.num_tokens}}
      .dump(2);
}

RunState run_state_from_json(std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("version") != kStateVersion) {
      throw Error(ErrorCategory::kData, fmt::format("checkpoint: state of version {}, this is {}",
                                                    json.at("version").dump(), kStateVersion));
    }
    // JSON has no NaN; an interval of one instance has no ends.
    const auto real = [](const nlohmann::json& value) {
      return value.is_null() ? std::nan("") : value.get<double>();
    };
    RunState s;
    json.at("step").get_to(s.step);
    json.at("phase").get_to(s.phase);
    json.at("seeded").get_to(s.seeded);
    json.at("phase_step").get_to(s.phase_step);
    json.at("phase_started").get_to(s.phase_started);
    json.at("phase_seconds").get_to(s.phase_seconds);
    json.at("elapsed").get_to(s.elapsed);
    json.at("best").get_to(s.best);
    const auto& ratio = json.at("best_ratio");
    s.best_ratio = {real(ratio.at(0)), real(ratio.at(1)), real(ratio.at(2))};
    json.at("best_seen").get_to(s.best_seen);
    json.at("policy_step").get_to(s.policy_step);
    json.at("num_tokens").get_to(s.num_tokens);
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCategory::kData, fmt::format("checkpoint: bad state: {}", error.what()));
  }
}

void Checkpoints::save(const RunState& state,
                       const std::function<void(const std::filesystem::path&)>& save_rest) const {
  std::filesystem::create_directories(folder_);
  const std::string name = fmt::format("{}{:06}", kPrefix, state.step);
  const std::filesystem::path temporary = folder_ / ("." + name + ".tmp");
  std::filesystem::remove_all(temporary);
  std::filesystem::create_directories(temporary);
  save_rest(temporary);
  write_file_atomic(temporary / "state.json", to_json(state));
  sync_folder(temporary);
  // After a resume from an older checkpoint the name may be taken.
  std::filesystem::remove_all(folder_ / name);
  std::filesystem::rename(temporary, folder_ / name);
  write_file_atomic(folder_ / "latest", name + "\n");
  const auto folders = complete_folders(folder_);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep_) < folders.size(); ++i) {
    if (folders[i].filename() != name) std::filesystem::remove_all(folders[i]);
  }
}

std::optional<std::filesystem::path> Checkpoints::latest() const {
  if (std::filesystem::exists(folder_ / "latest")) {
    std::string name = read_file(folder_ / "latest");
    while (!name.empty() && name.back() == '\n') name.pop_back();
    if (std::filesystem::exists(folder_ / name / "state.json")) return folder_ / name;
  }
  // Killed between the rename of the first checkpoint and the writing of `latest`.
  const auto folders = complete_folders(folder_);
  if (folders.empty()) return {};
  return folders.back();
}

RunState Checkpoints::load_state(const std::filesystem::path& checkpoint) {
  if (!std::filesystem::exists(checkpoint / "state.json")) {
    throw Error(ErrorCategory::kData,
                fmt::format("checkpoint: {} holds no checkpoint", checkpoint.string()));
  }
  return run_state_from_json(read_file(checkpoint / "state.json"));
}

}  // namespace crinn::train
