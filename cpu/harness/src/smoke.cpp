// SPDX-License-Identifier: Apache-2.0
#include "smoke.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/normalize.h"
#include "crinn/base/rng.h"
#include "scene.h"

namespace crinn::harness {
namespace {

using Clock = std::chrono::steady_clock;

// Odd, so that with the repeated one a batch has an even number: what alternates is seen.
constexpr int kQueries = 5;
constexpr std::array kNeighborCounts = {1, 10, 100};
constexpr int32_t kPoison = INT32_MIN + 91;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The share of the k nearest (with ties) among ids; `distances` [n] of the query.
double recall_of(const int32_t* ids, int k, const std::vector<double>& distances) {
  const auto due = std::min<std::size_t>(static_cast<std::size_t>(k), distances.size());
  std::vector<double> sorted = distances;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(due - 1),
                   sorted.end());
  const double bound = sorted[due - 1] + 1e-5 * std::abs(sorted[due - 1]) + 1e-9;
  std::size_t found = 0;
  for (std::size_t j = 0; j < due; ++j)
    found += distances[static_cast<std::size_t>(ids[j])] <= bound;
  return static_cast<double>(found) / static_cast<double>(due);
}

}  // namespace

SmokeTest::SmokeTest(uint64_t seed) {
  using ann::Metric;
  constexpr std::array metrics = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};
  constexpr std::array<int64_t, 7> dimensions = {1, 3, 16, 127, 128, 129, 200};
  uint64_t stream = seed;
  for (const int64_t n : {1, 5, 60}) {
    for (std::size_t i = 0; i < dimensions.size(); ++i) {
      add(n, dimensions[i], metrics[(i + static_cast<std::size_t>(n)) % 3], "", ++stream);
    }
  }
  for (const int64_t d : {3, 16, 127, 128, 200}) add(700, d, Metric::kL2, "", ++stream);
  for (const int64_t d : {16, 128, 129}) add(700, d, Metric::kCosine, "", ++stream);
  add(700, 128, Metric::kInnerProduct, "", ++stream);
  add(60, 16, Metric::kL2, "duplicates", ++stream);
  add(60, 129, Metric::kCosine, "duplicates", ++stream);
  add(60, 128, Metric::kL2, "all equal", ++stream);
  add(60, 16, Metric::kL2, "zeros", ++stream);
  add(60, 128, Metric::kCosine, "zeros", ++stream);
  add(300, 96, Metric::kL2, "small integers", ++stream);

  base_ = SharedMemory("smoke", static_cast<int64_t>(values_.size() * sizeof(float)));
  std::memcpy(base_.data(), values_.data(), values_.size() * sizeof(float));
  base_.seal();
  for (const SmokeCase& test : cases_) {
    const int64_t queries = static_cast<int64_t>(test.queries.size()) / test.d;
    max_exchange_ = std::max(max_exchange_, queries * (test.d + 100) * 4 + 4096);
  }
}

void SmokeTest::add(int64_t n, int64_t d, ann::Metric metric, const char* kind, uint64_t seed) {
  Rng rng(mix_seed(seed, 0x5340));
  const std::string_view what = kind;
  SmokeCase test;
  test.name =
      fmt::format("n {}, d {}, {}{}{}", n, d, to_string(metric), what.empty() ? "" : ", ", what);
  test.n = n;
  test.d = d;
  test.metric = metric;
  values_.resize((values_.size() + 15) / 16 * 16);
  test.base_offset = static_cast<int64_t>(values_.size() * sizeof(float));
  std::vector<float> base(static_cast<std::size_t>(n * d));
  const auto draw = [&] {
    return what == "small integers" ? static_cast<float>(rng.below(256))
                                    : static_cast<float>(rng.normal());
  };
  // Real vectors lie near a subspace: a vector is a mix of few directions and some noise. Uniform
  // directions would refuse every code that keeps the leading dimensions, which is what wins.
  constexpr int64_t kLatent = 16;
  const bool mixed = what.empty() && d > kLatent;
  std::vector<float> directions(static_cast<std::size_t>(mixed ? kLatent * d : 0));
  for (float& value : directions) value = static_cast<float>(rng.normal());
  const auto fill = [&](float* vector) {
    for (int64_t j = 0; j < d; ++j) vector[j] = draw();
    for (int64_t l = 0; mixed && l < kLatent; ++l) {
      const auto weight = static_cast<float>(rng.normal());
      for (int64_t j = 0; j < d; ++j) {
        vector[j] += weight * directions[static_cast<std::size_t>(l * d + j)];
      }
    }
  };
  for (int64_t i = 0; i < n; ++i) fill(base.data() + i * d);
  const auto row = [&](int64_t i) { return base.data() + i * d; };
  if (what == "duplicates") {
    for (int64_t i = 10; i < n; ++i) std::copy_n(row(i % 10), d, row(i));
  } else if (what == "all equal") {
    for (int64_t i = 1; i < n; ++i) std::copy_n(row(0), d, row(i));
  } else if (what == "zeros") {
    for (int64_t i = 0; i < n; i += 7) std::fill_n(row(i), d, 0.0f);
  }
  const auto finish = [&](float* vector) {
    if (metric == ann::Metric::kCosine)
      ann::normalize(std::vector<float>(vector, vector + d).data(), vector, d);
  };
  for (int64_t i = 0; i < n; ++i) finish(row(i));
  values_.insert(values_.end(), base.begin(), base.end());

  test.queries.resize(static_cast<std::size_t>((kQueries + 1) * d));
  for (int q = 0; q < kQueries; ++q) {
    float* query = test.queries.data() + q * d;
    if (q < 2) {
      std::copy_n(row(static_cast<int64_t>(rng.below(static_cast<uint64_t>(n)))), d, query);
    } else {
      fill(query);
      finish(query);
    }
  }
  std::copy_n(test.queries.data(), d, test.queries.data() + kQueries * d);
  for (int q = 0; q <= kQueries; ++q) {
    std::vector<double> distances;
    for (int64_t i = 0; i < n; ++i) {
      distances.push_back(ann::exact_distance(test.queries.data() + q * d, row(i), d, metric));
    }
    test.distances.push_back(std::move(distances));
  }
  // A graph need not reach everything by inner product, nor where many vectors are equal; a zero
  // vector's cosine is a convention.
  const bool plain = what.empty() || what == "small integers";
  if (plain && n >= 60 && d >= 3 && metric != ann::Metric::kInnerProduct) test.least_recall = 0.9;
  cases_.push_back(std::move(test));
}

Expected<std::vector<GraphData>> SmokeTest::build(const Compiled& construction, int degree,
                                                  int ef_construction,
                                                  double deadline_seconds) const {
  const auto start = Clock::now();
  WorkerSpec spec;
  spec.module = construction.object;
  spec.base = &base_;
  spec.exchange_bytes = build_exchange_bytes(700, degree);
  spec.private_bytes = int64_t{1} << 30;
  auto worker = WorkerProcess::start(spec, deadline_seconds);
  if (!worker) return tl::make_unexpected(worker.error());
  std::vector<GraphData> graphs;
  for (const SmokeCase& test : cases_) {
    BuildTask task;
    task.base_offset = test.base_offset;
    task.n = test.n;
    task.d = test.d;
    task.metric = static_cast<int>(test.metric);
    task.degree = degree;
    task.ef_construction = ef_construction;
    auto graph =
        build_graph(*worker, task, std::max(0.01, deadline_seconds - seconds_since(start)));
    if (!graph) {
      return tl::make_unexpected(
          Failure{graph.error().outcome, test.name + ": " + graph.error().evidence});
    }
    graphs.push_back(std::move(*graph));
  }
  return graphs;
}

std::optional<Failure> SmokeTest::run(const Compiled& pipeline,
                                      const std::vector<GraphData>& graphs,
                                      double deadline_seconds) const {
  const auto start = Clock::now();
  int64_t bytes = 0;
  for (const GraphData& graph : graphs) bytes += graph.bytes();
  SharedMemory memory("smoke-graphs", bytes);
  std::vector<int64_t> offsets;
  int64_t offset = 0;
  for (const GraphData& graph : graphs) {
    offsets.push_back(offset);
    write_graph(graph, {}, memory.data() + offset);
    offset += graph.bytes();
  }
  memory.seal();
  WorkerSpec spec;
  spec.module = pipeline.object;
  spec.base = &base_;
  spec.graph = &memory;
  spec.exchange_bytes = max_exchange_;
  spec.private_bytes = int64_t{1} << 30;
  auto worker = WorkerProcess::start(spec, deadline_seconds);
  if (!worker) return worker.error();
  for (std::size_t i = 0; i < cases_.size(); ++i) {
    const double left = deadline_seconds - seconds_since(start);
    if (auto failure = run_case(*worker, cases_[i], offsets[i], std::max(left, 0.01))) {
      return Failure{failure->outcome, cases_[i].name + ": " + failure->evidence};
    }
  }
  return std::nullopt;
}

std::optional<Failure> SmokeTest::run_case(WorkerProcess& worker, const SmokeCase& test,
                                           int64_t graph_offset, double deadline) const {
  const auto start = Clock::now();
  const auto left = [&] { return std::max(0.01, deadline - seconds_since(start)); };
  protocol::Message request;
  request.op = protocol::Op::kPrepare;
  request.n = test.n;
  request.d = test.d;
  request.metric = static_cast<int32_t>(test.metric);
  request.base_offset = test.base_offset;
  request.graph_offset = graph_offset;
  request.seed = 1;
  if (const auto reply = worker.call(request, left(), "preparing the search"); !reply) {
    return reply.error();
  }
  const int64_t count = kQueries + 1;
  const auto vector_bytes = static_cast<std::size_t>(count * test.d) * sizeof(float);
  auto* ids = reinterpret_cast<int32_t*>(worker.exchange() + vector_bytes);
  const int large_ef = static_cast<int>(std::max<int64_t>(2 * test.n, 400));

  // Each k at a small, a large and again the small ef: an order of ef must not matter.
  for (const int k : kNeighborCounts) {
    std::vector<int32_t> first;
    for (const int ef : {k, large_ef, k}) {
      const std::size_t id_count = static_cast<std::size_t>(count) * static_cast<std::size_t>(k);
      std::memcpy(worker.exchange(), test.queries.data(), vector_bytes);
      std::fill_n(ids, id_count, kPoison);
      request.op = protocol::Op::kSearch;
      request.k = k;
      request.ef = ef;
      request.count = count;
      request.query_offset = protocol::kExchangeHeaderBytes;
      request.result_offset = protocol::kExchangeHeaderBytes + static_cast<int64_t>(vector_bytes);
      const std::string doing = fmt::format("search (k {}, ef {})", k, ef);
      if (const auto reply = worker.call(request, left(), doing); !reply) return reply.error();
      const std::vector<int32_t> results(ids, ids + id_count);
      double recall = 0;
      for (int64_t q = 0; q < count; ++q) {
        const int32_t* answer = results.data() + q * k;
        if (const auto fault = answer_fault(answer, k, test.n)) {
          return Failure{Outcome::kWrong,
                         fmt::format("{}, query {}: {}", doing, q,
                                     *answer == kPoison ? "no result was written" : *fault)};
        }
        recall += recall_of(answer, k, test.distances[static_cast<std::size_t>(q)]) /
                  static_cast<double>(count);
      }
      if (!std::equal(results.begin(), results.begin() + k, results.end() - k)) {
        return Failure{Outcome::kWrong, doing + ": the same query gave other results in one batch"};
      }
      // A sum of rounded shares may fall short of a tie.
      if (ef == large_ef && k == 10 && recall < test.least_recall - 1e-9) {
        return Failure{Outcome::kLowRecall, fmt::format("{}: recall {:.3f} is below {:.2f}", doing,
                                                        recall, test.least_recall)};
      }
      if (first.empty()) {
        first = results;
      } else if (ef == k && first != results) {
        return Failure{Outcome::kWrong, doing + ": other results after a search with another ef"};
      }
    }
  }
  request.op = protocol::Op::kRelease;
  if (const auto reply = worker.call(request, left(), "releasing"); !reply) return reply.error();
  return std::nullopt;
}

}  // namespace crinn::harness
