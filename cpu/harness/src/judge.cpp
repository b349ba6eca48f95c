// SPDX-License-Identifier: Apache-2.0
#include "crinn/harness/judge.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "crinn/base/error.h"
#include "crinn/base/hash.h"
#include "crinn/base/rng.h"
#include "layers.h"
#include "prover.h"
#include "race.h"
#include "stand.h"
#include "toolchain.h"

namespace crinn::harness {
namespace {

using Clock = std::chrono::steady_clock;

// More time stolen than this by the hypervisor: a result that should not be used.
constexpr double kNoisySteal = 0.02, kUnusableSteal = 0.2;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string triple_hash(const Triple& triple) {
  Sha256 sum;
  for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
    sum.update(triple.at(role).text).update("\n--\n");
  }
  return sum.hex();
}

NoiseGrade grade(NoiseGrade race, double steal) {
  if (steal > kUnusableSteal) return NoiseGrade::kUnusable;
  return steal > kNoisySteal ? std::max(NoiseGrade::kNoisy, race) : race;
}

JudgeOptions checked(JudgeOptions options) {
  if (options.work_folder.empty()) {
    throw Error(ErrorCategory::kUsage, "judge: no work folder is given");
  }
  const std::vector<int> cores = allowed_cores();
  if (options.core < 0) options.core = cores.back();
  if (std::find(cores.begin(), cores.end(), options.core) == cores.end()) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("judge: core {} is not available to this process", options.core));
  }
  return options;
}

[[noreturn]] void blame_baseline(Stage stage, const Failure& failure) {
  throw Error(ErrorCategory::kData,
              fmt::format("judge: the baseline failed at {}: {}: {}", to_string(stage),
                          to_string(failure.outcome), failure.evidence));
}

}  // namespace

struct Judge::Impl {
  JudgeOptions options;
  Workload workload;
  Layers layers;
  std::string machine;
  std::vector<int> own_cores;  // of this thread while a race runs; empty: there is no other
  Prover prover;
  Stand stand;
  std::map<std::string, Profile> baselines;  // by both objects

  Impl(JudgeOptions given, Workload load)
      : options(checked(std::move(given))),
        workload(std::move(load)),
        layers(probe_layers(options.core)),
        machine(machine_fingerprint()),
        prover(options),
        stand(options, workload, options.core, layers.empty_worker_bytes) {
    for (const std::string& layer : layers.missing) {
      spdlog::warn("isolation: {} is not available on this machine", layer);
    }
    for (const int core : allowed_cores()) {
      if (core != options.core) own_cores.push_back(core);
    }
  }

  Measurement new_measurement() const {
    Measurement m;
    m.layers = layers.active;
    m.machine = machine;
    return m;
  }

  const Profile& profile_of_baseline(const Objects& objects, const System& system,
                                     double build_seconds, uint64_t seed) {
    const auto known = baselines.find(objects.key());
    if (known != baselines.end()) return known->second;
    auto profiled = stand.profile(system, build_seconds, seed);
    if (!profiled) blame_baseline(Stage::kSweep, profiled.error());
    profiled->runner.reset();  // it belongs to this scene, what was learned to all
    return baselines.emplace(objects.key(), std::move(*profiled)).first->second;
  }

  tl::expected<RaceResult, Stop> run_race(RaceSide baseline, RaceSide candidate, uint64_t seed,
                                          double give_up_below) const {
    RaceOptions race_options;
    race_options.instances = options.instances;
    race_options.cpu_seconds = options.race_seconds;
    race_options.slice_seconds = options.slice_seconds;
    race_options.core = options.core;
    race_options.seed = seed;
    race_options.prepare_deadline_seconds = options.build_deadline_seconds;
    race_options.keep_answers = options.keep_answers;
    race_options.check_repeats = options.check_repeats;
    race_options.check_hidden_work = options.check_lazy;
    race_options.give_up_below = give_up_below;
    race_options.band_low = options.band_low;
    race_options.band_high = options.band_high;
    auto raced = race(std::move(baseline), std::move(candidate), stand.scene(), race_options);
    if (raced) return std::move(*raced);
    if (!raced.error().candidate) blame_baseline(Stage::kRace, raced.error().failure);
    return tl::make_unexpected(Stop{Stage::kRace, raced.error().failure});
  }

  std::optional<Stop> compare(const Triple& candidate, const Triple& baseline, uint64_t seed,
                              double give_up_below, Measurement& m) {
    auto start = Clock::now();
    const auto lap = [&start](double& seconds) {
      seconds = seconds_since(start);
      start = Clock::now();
    };
    const auto objects = prover.prove(candidate);
    if (!objects) return objects.error();
    const auto baseline_objects = prover.prove(baseline);
    if (!baseline_objects) {
      blame_baseline(baseline_objects.error().stage, baseline_objects.error().failure);
    }

    lap(m.prove_seconds);

    stand.use_seed(seed);
    const PinnedThread pinned(own_cores);
    const StealClock steal = StealClock::now();
    const auto baseline_graph = stand.graph_of(baseline_objects->construction);
    if (!baseline_graph) blame_baseline(Stage::kSweep, baseline_graph.error());
    const auto graph = stand.graph_of(objects->construction);
    if (!graph) return Stop{Stage::kSweep, graph.error()};

    RaceSide baseline_side, side;
    baseline_side.system = {"baseline", baseline_objects->pipeline, &(*baseline_graph)->memory,
                            (*baseline_graph)->bytes};
    side.system = {"candidate", objects->pipeline, &(*graph)->memory, (*graph)->bytes};
    const Profile& baseline_profile =
        profile_of_baseline(*baseline_objects, baseline_side.system,
                            (*baseline_graph)->build_seconds, mix_seed(seed, 1));
    m.baseline_cost = baseline_profile.cost;
    auto profile = stand.profile(side.system, (*graph)->build_seconds, mix_seed(seed, 2));
    if (!profile) return Stop{Stage::kSweep, profile.error()};
    m.candidate_cost = profile->cost;
    if (auto failure = stand.check(*profile, baseline_profile)) {
      return Stop{Stage::kSweep, *failure};
    }

    lap(m.sweep_seconds);

    baseline_side.points = race_points(baseline_profile.sweep, stand.sweep_options());
    side.points = race_points(profile->sweep, stand.sweep_options());
    side.prepared = std::move(profile->runner);
    const System raced_system = side.system;
    auto raced = run_race(std::move(baseline_side), std::move(side), seed, give_up_below);
    lap(m.race_seconds);
    if (!raced) return raced.error();
    m.candidate_cost.index_bytes =
        std::max(m.candidate_cost.index_bytes,
                 stand.index_bytes(raced->candidate_private_bytes, raced_system));
    if (auto failure =
            stand.check_memory(m.candidate_cost.index_bytes, m.baseline_cost.index_bytes)) {
      return Stop{Stage::kRace, *failure};
    }
    m.instances = std::move(raced->instances);
    m.steal_fraction = StealClock::now().fraction_since(steal);
    m.noise = grade(raced->noise, m.steal_fraction);
    return std::nullopt;
  }
};

Judge::Judge(JudgeOptions options, Workload workload)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(workload))) {}
Judge::~Judge() = default;
Judge::Judge(Judge&&) noexcept = default;

namespace {

void conclude(const std::optional<Stop>& stop, Stage reached, Clock::time_point start,
              Measurement& m) {
  m.stage = stop ? stop->stage : reached;
  m.outcome = stop ? stop->failure.outcome : Outcome::kValid;
  if (stop) m.evidence = stop->failure.evidence;
  m.judge_seconds = seconds_since(start);
}

}  // namespace

Measurement Judge::judge(const Triple& candidate, const Triple& baseline, uint64_t seed,
                         double give_up_below) {
  const auto start = Clock::now();
  Measurement m = impl_->new_measurement();
  m.baseline_version = triple_hash(baseline);
  m.seed = seed;
  conclude(impl_->compare(candidate, baseline, seed, give_up_below, m), Stage::kDone, start, m);
  return m;
}

Measurement Judge::check(const Triple& candidate) {
  const auto start = Clock::now();
  Measurement m = impl_->new_measurement();
  const auto objects = impl_->prover.prove(candidate);
  conclude(objects ? std::nullopt : std::optional(objects.error()), Stage::kSmoke, start, m);
  return m;
}

const std::vector<std::string>& Judge::layers() const { return impl_->layers.active; }
std::string Judge::machine() const { return impl_->machine; }

}  // namespace crinn::harness
