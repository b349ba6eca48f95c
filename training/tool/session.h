// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "crinn/train/config.h"

namespace crinn::train {

struct SessionOptions {
  std::string resume;  ///< empty, "auto", or a checkpoint folder
  bool dry_run = false;
};

/// One process's part of a run, from a loaded configuration to the report. Returns the exit code.
int run_session(const Config& config, const SessionOptions& options);

}  // namespace crinn::train
