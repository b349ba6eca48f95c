// SPDX-License-Identifier: Apache-2.0
#include "stand.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "crinn/base/error.h"
#include "crinn/base/hash.h"
#include "layers.h"

namespace crinn::harness {
namespace {

constexpr double kLazySeconds = 0.05;  // of work that a first batch may put off
constexpr double kMiB = 1048576;

void check_workload(const Workload& workload) {
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
}

std::string hash_of(const Workload& workload) {
  Sha256 sum;
  const int64_t sizes[] = {workload.base.rows, workload.base.cols,
                           static_cast<int64_t>(workload.metric)};
  sum.update(sizes, sizeof sizes);
  for (int64_t i = 0; i < workload.base.rows; ++i) {
    sum.update(workload.base.row(i), static_cast<std::size_t>(workload.base.cols) * sizeof(float));
  }
  return sum.hex();
}

}  // namespace

Stand::Stand(const JudgeOptions& options, const Workload& workload, int core,
             int64_t empty_worker_bytes)
    : options_(options), workload_(workload), core_(core), empty_worker_bytes_(empty_worker_bytes) {
  check_workload(workload);
  workload_hash_ = hash_of(workload);
  std::filesystem::create_directories(options.work_folder / "graphs");
}

void Stand::use_seed(uint64_t seed) {
  if (scene_ && scene_->seed() == seed) return;
  placed_.clear();
  scene_.reset();  // first give its memory back
  // Who touches it first decides on which memory node it lies: next to the racing core.
  const PinnedThread on_racing_core({core_});
  scene_.emplace(workload_, seed);
}

Expected<std::shared_ptr<PlacedGraph>> Stand::graph_of(const Compiled& construction) {
  const std::string key = sha256_hex(fmt::format(
      "{} {} degree {} ef {} seed {} threads {}", construction.key, workload_hash_, options_.degree,
      options_.ef_construction, options_.seed, options_.build_threads));
  if (const auto known = placed_.find(key); known != placed_.end()) return known->second;
  const auto path = options_.work_folder / "graphs" / (key.substr(0, 32) + ".graph");
  auto graph = load_graph(path);
  if (!graph) {
    auto built = build(construction);
    if (!built) return tl::make_unexpected(built.error());
    // The cache speaks of raw ids: a graph outlives the secret order that it was built in.
    graph = rename_graph(*built, scene_->from_secret());
    save_graph(*graph, path);
  }
  const PinnedThread on_racing_core({core_});
  auto result = std::make_shared<PlacedGraph>();
  result->bytes = graph->bytes();
  result->build_seconds = graph->build_seconds;
  result->memory = SharedMemory("graph", graph->bytes());
  write_graph(*graph, scene_->to_secret(), result->memory.data());
  result->memory.seal();
  placed_[key] = result;
  return result;
}

Expected<GraphData> Stand::build(const Compiled& construction) const {
  WorkerSpec spec;
  spec.module = construction.object;
  spec.base = &scene_->base();
  spec.exchange_bytes = build_exchange_bytes(scene_->n(), options_.degree);
  // Room for several copies of the data and of the graph, whatever their size.
  spec.private_bytes = 8 * scene_->base().bytes() + 8 * spec.exchange_bytes + (int64_t{1} << 30);
  spec.threads = options_.build_threads;
  if (options_.build_threads <= 1) spec.core = core_;
  auto worker = WorkerProcess::start(spec, options_.build_deadline_seconds);
  if (!worker) return tl::make_unexpected(worker.error());
  BuildTask task;
  task.n = scene_->n();
  task.d = scene_->d();
  task.metric = static_cast<int>(scene_->metric());
  task.degree = options_.degree;
  task.ef_construction = options_.ef_construction;
  task.threads = options_.build_threads;
  task.seed = options_.seed;
  return build_graph(*worker, task, options_.build_deadline_seconds);
}

SweepOptions Stand::sweep_options() const {
  SweepOptions result;
  result.low = options_.sweep_low;
  result.high = options_.sweep_high;
  result.min_points = options_.min_points;
  result.top_recall = options_.top_recall;
  return result;
}

Expected<Profile> Stand::profile(const System& system, double build_seconds, uint64_t seed) const {
  auto runner = Runner::start(system, *scene_, core_, seed, options_.build_deadline_seconds);
  if (!runner) return tl::make_unexpected(runner.error());
  const int64_t prepared = runner->private_bytes();
  auto swept = sweep(*runner, *scene_, sweep_options(), seed);
  if (!swept) return tl::make_unexpected(swept.error());
  Profile result;
  // What a first batch did beyond its own work is preparing that was put off.
  result.cost.build_seconds = build_seconds + runner->prepare_seconds() + swept->lazy_seconds;
  const int64_t resident = std::max(prepared, runner->private_bytes());
  result.cost.index_bytes = index_bytes(resident, system);
  result.sweep = std::move(*swept);
  result.runner = std::move(*runner);
  return result;
}

std::optional<Failure> Stand::check_recall(const Sweep& candidate, const Sweep& baseline) const {
  const double due = baseline.best_recall >= options_.top_recall
                         ? options_.top_recall
                         : std::min(options_.band_low, baseline.best_recall);
  if (candidate.best_recall >= due) return std::nullopt;
  return Failure{Outcome::kLowRecall,
                 fmt::format("recall@{} reaches {:.4f} at ef {}, must reach {:.4f}", workload_.k,
                             candidate.best_recall,
                             candidate.points.empty() ? 0 : candidate.points.back().ef, due)};
}

std::optional<Failure> Stand::check(const Profile& candidate, const Profile& baseline) const {
  if (auto failure = check_recall(candidate.sweep, baseline.sweep)) return failure;
  const Sweep& sweep = candidate.sweep;
  if (options_.check_lazy && sweep.lazy_seconds > kLazySeconds + 10 * sweep.steady_seconds) {
    return Failure{Outcome::kOverCap,
                   fmt::format("lazy build: the first batch cost {:.3f} s more than a later one "
                               "({:.3f} s)",
                               sweep.lazy_seconds, sweep.steady_seconds)};
  }
  if (candidate.cost.build_seconds > options_.build_time_cap * baseline.cost.build_seconds) {
    return Failure{Outcome::kOverCap,
                   fmt::format("build time: {:.2f} s, more than {:g} times the baseline's {:.2f} s",
                               candidate.cost.build_seconds, options_.build_time_cap,
                               baseline.cost.build_seconds)};
  }
  return check_memory(candidate.cost.index_bytes, baseline.cost.index_bytes);
}

double Stand::index_bytes(int64_t private_bytes, const System& system) const {
  return static_cast<double>(std::max<int64_t>(0, private_bytes - empty_worker_bytes_) +
                             system.graph_bytes);
}

std::optional<Failure> Stand::check_memory(double candidate_bytes, double baseline_bytes) const {
  if (candidate_bytes <= options_.memory_cap * baseline_bytes) return std::nullopt;
  return Failure{Outcome::kOverCap,
                 fmt::format("memory: {:.1f} MiB, more than {:g} times the baseline's {:.1f} MiB",
                             candidate_bytes / kMiB, options_.memory_cap, baseline_bytes / kMiB)};
}

}  // namespace crinn::harness
