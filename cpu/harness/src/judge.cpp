// SPDX-License-Identifier: Apache-2.0
#include "crinn/harness/judge.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "compile.h"
#include "crinn/base/error.h"
#include "crinn/base/hash.h"
#include "crinn/base/rng.h"
#include "graph_store.h"
#include "layers.h"
#include "race.h"
#include "scene.h"
#include "screen.h"
#include "smoke.h"
#include "sweep.h"
#include "toolchain.h"

namespace crinn::harness {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLazySeconds = 0.05;  // of work that a first batch may put off
constexpr std::array kRoles = {Role::kConstruction, Role::kSearch, Role::kRefinement};

// How far a verdict came when it failed.
struct Stop {
  Stage stage;
  Failure failure;
};

std::string triple_hash(const Triple& triple) {
  Sha256 sum;
  for (const Role role : kRoles) sum.update(triple.at(role).text).update("\n--\n");
  return sum.hex();
}

// Both compiled halves of an index.
struct Objects {
  Compiled construction, pipeline;
  std::string key() const { return construction.key + pipeline.key; }
};

// A graph in the memory of one scene.
struct PlacedGraph {
  SharedMemory memory;
  int64_t bytes = 0;
  double build_seconds = 0;
};

// What the coarse sweep found out about a system.
struct Profile {
  Sweep sweep;
  BuildCost cost;
};

}  // namespace

struct Judge::Impl {
  JudgeOptions options;
  Workload workload;
  Layers layers;
  std::string machine;
  std::string workload_hash;
  int core;
  std::vector<int> other_cores;  // the judge's own while a race runs; empty: there is no other
  Compiler compiler;
  SmokeTest smoke;
  std::map<std::string, std::vector<GraphData>> smoke_graphs;  // by construction
  std::set<std::string> smoke_passed;                          // by both objects
  std::optional<Scene> scene;
  std::map<std::string, std::shared_ptr<PlacedGraph>> placed;  // in `scene`, by graph key
  std::map<std::string, Profile> baselines;                    // by both objects

  Impl(JudgeOptions given, Workload load)
      : options(std::move(given)),
        workload(std::move(load)),
        layers(probe_layers()),
        machine(machine_fingerprint()),
        core(options.core >= 0 ? options.core : allowed_cores().back()),
        compiler(options.work_folder / "objects", options.compile_deadline_seconds),
        smoke(options.seed) {
    check_workload();
    for (const std::string& layer : layers.missing) {
      spdlog::warn("isolation: {} is not available on this machine", layer);
    }
    for (const int one : allowed_cores()) {
      if (one != core) other_cores.push_back(one);
    }
    std::filesystem::create_directories(options.work_folder / "graphs");
    Sha256 sum;
    const int64_t sizes[] = {workload.base.rows, workload.base.cols,
                             static_cast<int64_t>(workload.metric)};
    sum.update(sizes, sizeof sizes);
    for (int64_t i = 0; i < workload.base.rows; ++i) {
      sum.update(workload.base.row(i),
                 static_cast<std::size_t>(workload.base.cols) * sizeof(float));
    }
    workload_hash = sum.hex();
  }

  void check_workload() const {
    const auto refuse = [](const std::string& why) {
      throw Error(ErrorCategory::kUsage, "judge: " + why);
    };
    if (workload.base.rows < 1 || workload.base.cols < 1 || workload.queries.rows < 1) {
      refuse(fmt::format("a workload of [{}, {}] vectors and {} queries", workload.base.rows,
                         workload.base.cols, workload.queries.rows));
    }
    if (workload.queries.cols != workload.base.cols) {
      refuse(fmt::format("queries have dimension {}, the base {}", workload.queries.cols,
                         workload.base.cols));
    }
    if (static_cast<int64_t>(workload.kth_distance.size()) != workload.queries.rows) {
      refuse(fmt::format("{} k-th distances for {} queries", workload.kth_distance.size(),
                         workload.queries.rows));
    }
    if (workload.k < 1 || workload.k > workload.base.rows) {
      refuse(fmt::format("k {} for {} vectors", workload.k, workload.base.rows));
    }
    if (options.work_folder.empty()) refuse("no work folder is given");
  }

  // Screen, compile, smoke test.
  tl::expected<Objects, Stop> prove(const Triple& triple, Stage& stage) {
    stage = Stage::kScreen;
    for (const Role role : kRoles) {
      const Screened seen = options.screen ? screen(triple.at(role)) : identify(triple.at(role));
      if (seen.outcome == Outcome::kValid) continue;
      stage = seen.outcome == Outcome::kNoCode ? Stage::kExtract : Stage::kScreen;
      return tl::make_unexpected(
          Stop{stage, {seen.outcome, fmt::format("{}: {}", to_string(role), seen.evidence)}});
    }
    stage = Stage::kCompile;
    auto pipeline = compiler.pipeline(triple.search, triple.refinement);
    if (!pipeline) return tl::make_unexpected(Stop{stage, pipeline.error()});
    auto construction = compiler.construction(triple.construction);
    if (!construction) return tl::make_unexpected(Stop{stage, construction.error()});
    Objects objects{*construction, *pipeline};
    stage = Stage::kSmoke;
    if (auto failure = run_smoke(objects)) return tl::make_unexpected(Stop{stage, *failure});
    return objects;
  }

  std::optional<Failure> run_smoke(const Objects& objects) {
    if (smoke_passed.contains(objects.key())) return std::nullopt;
    auto graphs = smoke_graphs.find(objects.construction.key);
    if (graphs == smoke_graphs.end()) {
      auto built = smoke.build(objects.construction, options.degree, options.ef_construction,
                               options.smoke_deadline_seconds);
      if (!built) return built.error();
      graphs = smoke_graphs.emplace(objects.construction.key, std::move(*built)).first;
    }
    auto failure = smoke.run(objects.pipeline, graphs->second, options.smoke_deadline_seconds);
    if (!failure) smoke_passed.insert(objects.key());
    return failure;
  }

  void use_scene(uint64_t seed) {
    if (scene && scene->seed() == seed) return;
    placed.clear();
    scene.reset();  // first give its memory back
    scene.emplace(workload, seed);
  }

  // The graph of a construction on this workload, from the cache or from a build in a worker.
  Expected<std::shared_ptr<PlacedGraph>> graph_of(const Compiled& construction) {
    const std::string key = sha256_hex(
        fmt::format("{} {} degree {} ef {} seed {} threads {}", construction.key, workload_hash,
                    options.degree, options.ef_construction, options.seed, options.build_threads));
    if (const auto known = placed.find(key); known != placed.end()) return known->second;
    const auto path = options.work_folder / "graphs" / (key.substr(0, 32) + ".graph");
    auto graph = load_graph(path);
    if (!graph) {
      auto built = build(construction);
      if (!built) return tl::make_unexpected(built.error());
      // The cache speaks of raw ids: a graph outlives the secret order that it was built in.
      graph = rename_graph(*built, scene->from_secret());
      save_graph(*graph, path);
    }
    auto result = std::make_shared<PlacedGraph>();
    result->bytes = graph->bytes();
    result->build_seconds = graph->build_seconds;
    result->memory = SharedMemory("graph", graph->bytes());
    write_graph(*graph, scene->to_secret(), result->memory.data());
    result->memory.seal();
    placed[key] = result;
    return result;
  }

  Expected<GraphData> build(const Compiled& construction) {
    WorkerSpec spec;
    spec.module = construction.object;
    spec.base = &scene->base();
    spec.exchange_bytes = build_exchange_bytes(scene->n(), options.degree);
    spec.private_bytes = 8 * scene->base().bytes() + 8 * spec.exchange_bytes + (int64_t{1} << 30);
    spec.threads = options.build_threads;
    if (options.build_threads <= 1) spec.core = core;
    auto worker = WorkerProcess::start(spec, options.build_deadline_seconds);
    if (!worker) return tl::make_unexpected(worker.error());
    BuildTask task;
    task.n = scene->n();
    task.d = scene->d();
    task.metric = static_cast<int>(scene->metric());
    task.degree = options.degree;
    task.ef_construction = options.ef_construction;
    task.threads = options.build_threads;
    task.seed = options.seed;
    return build_graph(*worker, task, options.build_deadline_seconds);
  }

  SweepOptions sweep_options() const {
    SweepOptions result;
    result.low = options.sweep_low;
    result.high = options.sweep_high;
    result.min_points = options.min_points;
    result.top_recall = options.top_recall;
    return result;
  }

  // Prepares, checks laziness, sweeps.
  Expected<Profile> profile(const System& system, double build_seconds, uint64_t seed) {
    auto runner = Runner::start(system, *scene, core, seed, options.build_deadline_seconds);
    if (!runner) return tl::make_unexpected(runner.error());
    const int64_t prepared = runner->private_bytes();
    auto swept = sweep(*runner, *scene, sweep_options(), seed);
    if (!swept) return tl::make_unexpected(swept.error());
    Profile result;
    result.cost.build_seconds = build_seconds + runner->prepare_seconds() + swept->lazy_seconds;
    const int64_t resident = std::max(prepared, runner->private_bytes());
    result.cost.index_bytes = static_cast<double>(
        std::max<int64_t>(0, resident - layers.empty_worker_bytes) + system.graph_bytes);
    result.sweep = std::move(*swept);
    return result;
  }

  std::optional<Failure> check_caps(const Profile& candidate, const Profile& baseline) const {
    const double build_cap = options.build_time_cap * baseline.cost.build_seconds;
    if (candidate.cost.build_seconds > build_cap) {
      return Failure{
          Outcome::kOverCap,
          fmt::format("build time: {:.2f} s, more than {:g} times the baseline's {:.2f} s",
                      candidate.cost.build_seconds, options.build_time_cap,
                      baseline.cost.build_seconds)};
    }
    if (candidate.cost.index_bytes > options.memory_cap * baseline.cost.index_bytes) {
      return Failure{
          Outcome::kOverCap,
          fmt::format("memory: {:.1f} MiB, more than {:g} times the baseline's {:.1f} MiB",
                      candidate.cost.index_bytes / 1048576, options.memory_cap,
                      baseline.cost.index_bytes / 1048576)};
    }
    const Sweep& sweep = candidate.sweep;
    if (options.check_lazy && sweep.lazy_seconds > kLazySeconds + 10 * sweep.steady_seconds) {
      return Failure{Outcome::kOverCap,
                     fmt::format("lazy build: the first batch cost {:.3f} s more than a later one "
                                 "({:.3f} s)",
                                 sweep.lazy_seconds, sweep.steady_seconds)};
    }
    return std::nullopt;
  }

  std::optional<Failure> check_recall(const Sweep& candidate, const Sweep& baseline) const {
    const double due = baseline.best_recall >= options.top_recall
                           ? options.top_recall
                           : std::min(options.band_low, baseline.best_recall);
    if (candidate.best_recall >= due) return std::nullopt;
    return Failure{Outcome::kLowRecall,
                   fmt::format("recall@{} reaches {:.4f} at ef {}, must reach {:.4f}", workload.k,
                               candidate.best_recall,
                               candidate.points.empty() ? 0 : candidate.points.back().ef, due)};
  }

  std::optional<Stop> compare(const Triple& candidate, const Triple& baseline, uint64_t seed,
                              Measurement& m);
};

namespace {

[[noreturn]] void blame_baseline(Stage stage, const Failure& failure) {
  throw Error(ErrorCategory::kData,
              fmt::format("judge: the baseline failed at {}: {}: {}", to_string(stage),
                          to_string(failure.outcome), failure.evidence));
}

}  // namespace

std::optional<Stop> Judge::Impl::compare(const Triple& candidate, const Triple& baseline,
                                         uint64_t seed, Measurement& m) {
  const auto objects = prove(candidate, m.stage);
  if (!objects) return objects.error();
  Stage baseline_stage = Stage::kExtract;
  const auto baseline_objects = prove(baseline, baseline_stage);
  if (!baseline_objects) blame_baseline(baseline_stage, baseline_objects.error().failure);

  m.stage = Stage::kSweep;
  use_scene(seed);
  const PinnedThread pinned(other_cores);
  const StealClock steal = StealClock::now();
  const auto baseline_graph = graph_of(baseline_objects->construction);
  if (!baseline_graph) blame_baseline(m.stage, baseline_graph.error());
  const auto graph = graph_of(objects->construction);
  if (!graph) return Stop{m.stage, graph.error()};

  RaceSide baseline_side, candidate_side;
  baseline_side.system = {"baseline", baseline_objects->pipeline, &(*baseline_graph)->memory,
                          (*baseline_graph)->bytes};
  candidate_side.system = {"candidate", objects->pipeline, &(*graph)->memory, (*graph)->bytes};
  auto known = baselines.find(baseline_objects->key());
  if (known == baselines.end()) {
    auto profiled =
        profile(baseline_side.system, (*baseline_graph)->build_seconds, mix_seed(seed, 1));
    if (!profiled) blame_baseline(m.stage, profiled.error());
    known = baselines.emplace(baseline_objects->key(), std::move(*profiled)).first;
  }
  const Profile& baseline_profile = known->second;
  m.baseline_cost = baseline_profile.cost;
  auto profiled = profile(candidate_side.system, (*graph)->build_seconds, mix_seed(seed, 2));
  if (!profiled) return Stop{m.stage, profiled.error()};
  m.candidate_cost = profiled->cost;
  if (auto failure = check_recall(profiled->sweep, baseline_profile.sweep)) {
    return Stop{m.stage, *failure};
  }
  if (auto failure = check_caps(*profiled, baseline_profile)) return Stop{m.stage, *failure};

  m.stage = Stage::kRace;
  baseline_side.points = race_points(baseline_profile.sweep, sweep_options());
  candidate_side.points = race_points(profiled->sweep, sweep_options());
  RaceOptions race_options;
  race_options.instances = options.instances;
  race_options.cpu_seconds = options.race_seconds;
  race_options.slice_seconds = options.slice_seconds;
  race_options.core = core;
  race_options.seed = seed;
  race_options.prepare_deadline_seconds = options.build_deadline_seconds;
  race_options.keep_answers = options.keep_answers;
  race_options.check_repeats = options.check_repeats;
  auto raced = race(baseline_side, candidate_side, *scene, race_options);
  if (!raced) {
    if (!raced.error().candidate) blame_baseline(m.stage, raced.error().failure);
    return Stop{m.stage, raced.error().failure};
  }
  m.instances = std::move(raced->instances);
  m.steal_fraction = StealClock::now().fraction_since(steal);
  m.noise = m.steal_fraction > 0.2    ? NoiseGrade::kUnusable
            : m.steal_fraction > 0.02 ? std::max(NoiseGrade::kNoisy, raced->noise)
                                      : raced->noise;
  return std::nullopt;
}

Judge::Judge(JudgeOptions options, Workload workload)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(workload))) {}
Judge::~Judge() = default;
Judge::Judge(Judge&&) noexcept = default;

Measurement Judge::judge(const Triple& candidate, const Triple& baseline, uint64_t seed) {
  const auto start = Clock::now();
  Measurement m;
  m.layers = impl_->layers.active;
  m.machine = impl_->machine;
  m.baseline_version = triple_hash(baseline);
  m.seed = seed;
  if (const auto stop = impl_->compare(candidate, baseline, seed, m)) {
    m.stage = stop->stage;
    m.outcome = stop->failure.outcome;
    m.evidence = stop->failure.evidence;
  } else {
    m.stage = Stage::kDone;
    m.outcome = Outcome::kValid;
  }
  m.judge_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return m;
}

Measurement Judge::check(const Triple& candidate) {
  const auto start = Clock::now();
  Measurement m;
  m.layers = impl_->layers.active;
  m.machine = impl_->machine;
  const auto objects = impl_->prove(candidate, m.stage);
  m.outcome = Outcome::kValid;
  if (!objects) {
    m.stage = objects.error().stage;
    m.outcome = objects.error().failure.outcome;
    m.evidence = objects.error().failure.evidence;
  }
  m.judge_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return m;
}

const std::vector<std::string>& Judge::layers() const { return impl_->layers.active; }
std::string Judge::machine() const { return impl_->machine; }

}  // namespace crinn::harness
