// SPDX-License-Identifier: Apache-2.0
#include "prover.h"

#include <spdlog/fmt/fmt.h>

#include <array>

#include "screen.h"

namespace crinn::harness {
namespace {

// The front end and the back end run as one: what a message says tells them apart.
Stop compiler_stop(const Failure& failure) {
  const bool front_end = failure.outcome == Outcome::kDoesNotCompile &&
                         failure.evidence.find(" error: ") != std::string::npos;
  return {front_end ? Stage::kSyntax : Stage::kCompile, failure};
}

}  // namespace

Prover::Prover(const JudgeOptions& options)
    : options_(options),
      compiler_(options.work_folder / "objects", options.compile_deadline_seconds),
      smoke_(options.seed) {}

tl::expected<Objects, Stop> Prover::prove(const Triple& triple) {
  for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
    const Screened seen = options_.screen ? screen(triple.at(role)) : identify(triple.at(role));
    if (seen.outcome == Outcome::kValid) continue;
    const Stage stage = seen.outcome == Outcome::kNoCode ? Stage::kExtract : Stage::kScreen;
    return tl::make_unexpected(
        Stop{stage, {seen.outcome, fmt::format("{}: {}", to_string(role), seen.evidence)}});
  }
  auto pipeline = compiler_.pipeline(triple.search, triple.refinement);
  if (!pipeline) return tl::make_unexpected(compiler_stop(pipeline.error()));
  auto construction = compiler_.construction(triple.construction);
  if (!construction) return tl::make_unexpected(compiler_stop(construction.error()));
  Objects objects{*construction, *pipeline};
  if (auto failure = run_smoke(objects)) {
    return tl::make_unexpected(Stop{Stage::kSmoke, *failure});
  }
  return objects;
}

std::optional<Failure> Prover::run_smoke(const Objects& objects) {
  if (passed_.contains(objects.key())) return std::nullopt;
  auto graphs = graphs_.find(objects.construction.key);
  if (graphs == graphs_.end()) {
    auto built = smoke_.build(objects.construction, options_.degree, options_.ef_construction,
                              options_.smoke_deadline_seconds);
    if (!built) return built.error();
    graphs = graphs_.emplace(objects.construction.key, std::move(*built)).first;
  }
  auto failure = smoke_.run(objects.pipeline, graphs->second, options_.smoke_deadline_seconds);
  if (!failure) passed_.insert(objects.key());
  return failure;
}

}  // namespace crinn::harness
