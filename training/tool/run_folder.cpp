// SPDX-License-Identifier: Apache-2.0
#include "run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "crinn/base/error.h"
#include "crinn/base/files.h"

namespace crinn::train {

namespace {

/// Keys that say how long and where, not what: a resumed run may change them.
bool may_change(const std::string& key) {
  constexpr std::array<std::string_view, 9> kFree = {
      "name",       "out",     "threads",        "work_folder", "reuse",
      "checkpoint", "confirm", "schedule.steps", "report"};
  if (key == "schedule.wall_seconds" || key.ends_with("deadline_seconds")) return true;
  return std::any_of(kFree.begin(), kFree.end(), [&](std::string_view free) {
    return key == free || key.starts_with(std::string(free) + ".");
  });
}

}  // namespace

RunFolder::RunFolder(const Config& config, const std::string& resume,
                     const std::string& codec_version)
    : path_(config.run_folder()) {
  const auto usage = [](const std::string& message) {
    throw Error(ErrorCategory::kUsage, "run_folder: " + message);
  };
  std::filesystem::create_directories(path_);
  lock_ = open((path_ / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0 || flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    throw Error(ErrorCategory::kTryAgain,
                fmt::format("run_folder: cannot lock {}: {}", path_.string(),
                            errno == EWOULDBLOCK ? "another crinn-train runs there"
                                                 : std::strerror(errno)));
  }
  const std::filesystem::path config_file = path_ / "config.yaml", codec_file = path_ / "codec";
  const Checkpoints kept(checkpoints(), config.checkpoint.keep);
  // What stopped before its first checkpoint has measured nothing and may begin again.
  const bool exists = std::filesystem::exists(config_file) && kept.latest();
  if (resume.empty() && exists) {
    usage(fmt::format("{} holds a run: go on with --resume auto, or choose another name",
                      path_.string()));
  }
  if (exists) {
    const Config before = load_config(config_file, {});
    for (const std::string& key : changed_keys(before, config)) {
      if (!may_change(key)) {
        usage(fmt::format("{} was run with another '{}': a resumed run must keep it",
                          path_.string(), key));
      }
    }
    if (read_file(codec_file) != codec_version) {
      usage(
          fmt::format("{} was run with other grammars: begin under another name", path_.string()));
    }
    resume_from_ = resume == "auto" ? kept.latest() : std::optional<std::filesystem::path>(resume);
  } else if (!resume.empty() && resume != "auto") {
    usage(fmt::format("{} holds no run to resume", path_.string()));
  }
  write_file_atomic(codec_file, codec_version);
  write_file_atomic(config_file, to_yaml(config));
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace crinn::train
