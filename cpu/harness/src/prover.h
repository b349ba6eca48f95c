// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "compile.h"
#include "crinn/harness/judge.h"
#include "smoke.h"

namespace crinn::harness {

/// How far a verdict came when it failed.
struct Stop {
  Stage stage = Stage::kExtract;
  Failure failure;
};

/// Both compiled halves of an index.
struct Objects {
  Compiled construction, pipeline;
  std::string key() const { return construction.key + pipeline.key; }
};

/// The cheap end of the cascade: screen, compile, smoke test. What passed once is not tested
/// again.
class Prover {
 public:
  explicit Prover(const JudgeOptions& options);
  tl::expected<Objects, Stop> prove(const Triple& triple);

 private:
  std::optional<Failure> run_smoke(const Objects& objects);

  const JudgeOptions& options_;
  Compiler compiler_;
  SmokeTest smoke_;
  std::map<std::string, std::vector<GraphData>> graphs_;  // of the smoke test, by construction
  std::set<std::string> passed_;                          // by both objects
};

}  // namespace crinn::harness
