// SPDX-License-Identifier: Apache-2.0
#include "runner.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "crinn/base/hash.h"

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
  // Mixing is invertible: the module must not learn the seed of the scene from its own.
  const std::string hidden = sha256_hex(fmt::format("module seed {}", seed));
  request.seed = std::stoull(hidden.substr(0, 15), nullptr, 16);
  request.threads = 1;
  const double before = runner.worker_.clocks().cpu;
  const auto reply = runner.worker_.call(request, deadline_seconds, "preparing the search");
  runner.cpu_mark_ = runner.worker_.clocks().cpu;
  runner.prepare_seconds_ = runner.cpu_mark_ - before;
  if (!reply) return tl::make_unexpected(reply.error());
  return runner;
}

void Runner::place(std::span<const int64_t> queries) {
  auto* vectors = reinterpret_cast<float*>(worker_.exchange());
  const auto d = static_cast<std::size_t>(scene_->d());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    std::memcpy(vectors + i * d, scene_->query(queries[i]), d * sizeof(float));
    seen_[static_cast<std::size_t>(queries[i])] = true;
  }
}

Expected<BatchResult> Runner::run(protocol::Op op, int64_t count, int ef) {
  char* exchange = worker_.exchange() - protocol::kExchangeHeaderBytes;
  auto* ids = reinterpret_cast<int32_t*>(exchange + results_offset(*scene_));
  const int64_t id_count = count * scene_->k();
  std::fill(ids, ids + id_count, kPoison);

  protocol::Message request;
  request.op = op;
  request.d = scene_->d();
  request.k = scene_->k();
  request.ef = ef;
  request.count = count;
  request.query_offset = protocol::kExchangeHeaderBytes;
  request.result_offset = results_offset(*scene_);
  request.extra_offset = latencies_offset(*scene_);
  const Clocks before = worker_.clocks();
  const auto reply =
      worker_.call(request, kBatchDeadline, fmt::format("search (ef {}, {} queries)", ef, count));
  if (!reply) return tl::make_unexpected(reply.error());
  const Clocks after = worker_.clocks();
  BatchResult result;
  // From the last reading on: what a module burns between two batches is charged to the next.
  result.cpu_seconds = after.cpu - cpu_mark_;
  cpu_mark_ = after.cpu;
  result.wall_seconds = after.wall - before.wall;
  result.distances = reply->distances - distances_;
  distances_ = reply->distances;
  result.ids.assign(ids, ids + id_count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t* answer = result.ids.data() + i * scene_->k();
    if (const auto fault = scene_->fault(answer)) {
      return tl::make_unexpected(Failure{
          Outcome::kWrong, fmt::format("search (ef {}, query {} of {}): {}", ef, i, count,
                                       *answer == kPoison ? "no result was written" : *fault)});
    }
  }
  return result;
}

Expected<BatchResult> Runner::search(std::span<const int64_t> queries, int ef) {
  place(queries);
  return run(protocol::Op::kSearch, static_cast<int64_t>(queries.size()), ef);
}

Expected<BatchResult> Runner::search(const std::vector<float>& vectors, int ef) {
  std::memcpy(worker_.exchange(), vectors.data(), vectors.size() * sizeof(float));
  return run(protocol::Op::kSearch, static_cast<int64_t>(vectors.size()) / scene_->d(), ef);
}

Expected<std::vector<float>> Runner::latencies(std::span<const int64_t> queries, int ef,
                                               std::vector<int32_t>* ids) {
  place(queries);
  auto result = run(protocol::Op::kSearchTimed, static_cast<int64_t>(queries.size()), ef);
  if (!result) return tl::make_unexpected(result.error());
  const auto* values = reinterpret_cast<const float*>(
      worker_.exchange() - protocol::kExchangeHeaderBytes + latencies_offset(*scene_));
  if (ids != nullptr) *ids = std::move(result->ids);
  // The module could write there: what is no time becomes none.
  std::vector<float> latencies(values, values + queries.size());
  for (float& latency : latencies) {
    if (!(latency >= 0 && latency <= kBatchDeadline * 1e6)) latency = 0;
  }
  return latencies;
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
