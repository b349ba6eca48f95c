// SPDX-License-Identifier: Apache-2.0
#include "runner.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>

namespace crinn::harness {
namespace {

// No id of any index: a place that a module leaves alone is seen.
constexpr int32_t kPoison = INT32_MIN + 77;
constexpr double kBatchDeadline = 60;

int64_t results_offset(const Scene& scene) {
  return protocol::kExchangeHeaderBytes +
         Runner::kMaxBatch * scene.d() * static_cast<int64_t>(sizeof(float));
}

int64_t latencies_offset(const Scene& scene) {
  return results_offset(scene) +
         Runner::kMaxBatch * scene.k() * static_cast<int64_t>(sizeof(int32_t));
}

}  // namespace

Expected<Runner> Runner::start(const System& system, const Scene& scene, int core, uint64_t seed,
                               double deadline_seconds) {
  WorkerSpec spec;
  spec.module = system.pipeline.object;
  spec.base = &scene.base();
  spec.graph = system.graph;
  spec.exchange_bytes = latencies_offset(scene) - protocol::kExchangeHeaderBytes +
                        kMaxBatch * static_cast<int64_t>(sizeof(float));
  // Room for several copies of the data, whatever its size.
  spec.private_bytes = 8 * scene.base().bytes() + 4 * system.graph_bytes + (int64_t{1} << 30);
  spec.core = core;
  auto worker = WorkerProcess::start(spec, deadline_seconds);
  if (!worker) return tl::make_unexpected(worker.error());
  Runner runner(std::move(*worker), scene);
  protocol::Message request;
  request.op = protocol::Op::kPrepare;
  request.n = scene.n();
  request.d = scene.d();
  request.metric = static_cast<int32_t>(scene.metric());
  request.seed = seed;
  request.threads = 1;
  const double before = runner.worker_.clocks().cpu;
  const auto reply = runner.worker_.call(request, deadline_seconds, "preparing the search");
  runner.cpu_mark_ = runner.worker_.clocks().cpu;
  runner.prepare_seconds_ = runner.cpu_mark_ - before;
  if (!reply) return tl::make_unexpected(reply.error());
  return runner;
}

Expected<protocol::Message> Runner::send(protocol::Op op, std::span<const int64_t> queries, int ef,
                                         BatchResult& result) {
  const int64_t count = static_cast<int64_t>(queries.size());
  const int64_t d = scene_->d();
  char* exchange = worker_.exchange() - protocol::kExchangeHeaderBytes;
  auto* vectors = reinterpret_cast<float*>(exchange + protocol::kExchangeHeaderBytes);
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(vectors + i * d, scene_->query(queries[static_cast<std::size_t>(i)]),
                static_cast<std::size_t>(d) * sizeof(float));
  }
  auto* ids = reinterpret_cast<int32_t*>(exchange + results_offset(*scene_));
  const int64_t id_count = count * scene_->k();
  std::fill(ids, ids + id_count, kPoison);

  protocol::Message request;
  request.op = op;
  request.d = d;
  request.k = scene_->k();
  request.ef = ef;
  request.count = count;
  request.query_offset = protocol::kExchangeHeaderBytes;
  request.result_offset = results_offset(*scene_);
  request.extra_offset = latencies_offset(*scene_);
  const Clocks before = worker_.clocks();
  auto reply =
      worker_.call(request, kBatchDeadline, fmt::format("search (ef {}, {} queries)", ef, count));
  if (!reply) return reply;
  const Clocks after = worker_.clocks();
  // From the last reading on: what a module burns between two batches is charged to the next.
  result.cpu_seconds = after.cpu - cpu_mark_;
  cpu_mark_ = after.cpu;
  result.wall_seconds = after.wall - before.wall;
  result.distances = reply->distances - distances_;
  distances_ = reply->distances;
  result.ids.assign(ids, ids + id_count);
  for (int64_t i = 0; i < count; ++i) {
    if (const auto fault = scene_->fault(result.ids.data() + i * scene_->k())) {
      const bool stale = result.ids[static_cast<std::size_t>(i * scene_->k())] == kPoison;
      return tl::make_unexpected(
          Failure{Outcome::kWrong, fmt::format("search (ef {}, query {} of {}): {}", ef, i, count,
                                               stale ? "no result was written" : *fault)});
    }
  }
  return reply;
}

Expected<BatchResult> Runner::search(std::span<const int64_t> queries, int ef) {
  BatchResult result;
  const auto reply = send(protocol::Op::kSearch, queries, ef, result);
  if (!reply) return tl::make_unexpected(reply.error());
  return result;
}

Expected<std::vector<float>> Runner::latencies(std::span<const int64_t> queries, int ef,
                                               std::vector<int32_t>* ids) {
  BatchResult result;
  const auto reply = send(protocol::Op::kSearchTimed, queries, ef, result);
  if (!reply) return tl::make_unexpected(reply.error());
  if (ids != nullptr) *ids = std::move(result.ids);
  const auto* values = reinterpret_cast<const float*>(
      worker_.exchange() - protocol::kExchangeHeaderBytes + latencies_offset(*scene_));
  return std::vector<float>(values, values + queries.size());
}

double recall(const Scene& scene, std::span<const int64_t> queries, const BatchResult& result) {
  int64_t found = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    found += scene.hits(queries[i], result.ids.data() + i * static_cast<std::size_t>(scene.k()));
  }
  const auto due = std::min<int64_t>(scene.k(), scene.n()) * static_cast<int64_t>(queries.size());
  return due > 0 ? static_cast<double>(found) / static_cast<double>(due) : 0;
}

}  // namespace crinn::harness
