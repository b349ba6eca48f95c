// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"

/// Runs the crinn-eval binary as a person would.
namespace crinn::eval {

/// A small generated set.
inline const std::string kData =
    "synthetic:n=2000,d=16,clusters=8,metric=euclidean,seed=5,queries=200";

/// With its cache in `folder`.
inline ProcessResult crinn_eval(std::vector<std::string> arguments, const TemporaryFolder& folder) {
  arguments.insert(arguments.begin(), CRINN_EVAL_PATH);
  for (const std::string& more : {std::string("--cache"), (folder.path() / "cache").string()}) {
    arguments.push_back(more);
  }
  ProcessOptions options;
  options.wall_seconds = 240;
  options.output_bytes = 8 << 20;
  return run_process(arguments, options);
}

}  // namespace crinn::eval
