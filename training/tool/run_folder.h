// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "crinn/train/config.h"
#include "crinn/train/run_state.h"

namespace crinn::train {

/// The folder of a run: locked for this process, its configuration checked against what was there.
class RunFolder {
 public:
  /// `resume` is empty, "auto" or a checkpoint folder. Throws Error: usage when the folder holds a
  /// run and none is to be resumed, or when a resumed run's configuration or codec differs in what
  /// decides its course; try again when another process has the folder.
  RunFolder(const Config& config, const std::string& resume, const std::string& codec_version);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path archive_file() const { return path_ / "archive.sqlite"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  /// The checkpoint to go on from; none: a fresh run.
  const std::optional<std::filesystem::path>& resume_from() const { return resume_from_; }

 private:
  std::filesystem::path path_;
  std::optional<std::filesystem::path> resume_from_;
  int lock_ = -1;
};

}  // namespace crinn::train
