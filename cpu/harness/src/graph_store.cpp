// SPDX-License-Identifier: Apache-2.0
#include "graph_store.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "crinn/base/files.h"
#include "crinn/base/hash.h"

namespace crinn::harness {
namespace {

constexpr char kMagic[8] = {'C', 'R', 'I', 'N', 'N', 'G', 'R', '1'};
constexpr std::size_t kChecksumBytes = 64;

Failure wrong(const std::string& evidence) { return {Outcome::kWrong, "build: " + evidence}; }

std::optional<Failure> check_rows(const GraphData& graph) {
  std::vector<int32_t> sorted;
  for (int64_t i = 0; i < graph.n; ++i) {
    const int32_t* row = graph.neighbors.data() + i * graph.degree;
    const auto end = std::find(row, row + graph.degree, -1);
    if (std::any_of(end, row + graph.degree, [](int32_t id) { return id != -1; })) {
      return wrong(fmt::format("row {} has a neighbour after its padding", i));
    }
    sorted.assign(row, end);
    std::sort(sorted.begin(), sorted.end());
    if (!sorted.empty() && (sorted.front() < 0 || sorted.back() >= graph.n)) {
      const int32_t bad = sorted.front() < 0 ? sorted.front() : sorted.back();
      return wrong(fmt::format("row {} has neighbour {}, n is {}", i, bad, graph.n));
    }
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      return wrong(fmt::format("row {} has a neighbour twice", i));
    }
    if (std::binary_search(sorted.begin(), sorted.end(), static_cast<int32_t>(i))) {
      return wrong(fmt::format("row {} has itself as a neighbour", i));
    }
  }
  return std::nullopt;
}

std::optional<Failure> check_ids(const GraphData& graph) {
  for (const int32_t id : graph.entry_points) {
    if (id < 0 || id >= graph.n) {
      return wrong(fmt::format("entry point {}, n is {}", id, graph.n));
    }
  }
  if (graph.order.empty()) return std::nullopt;
  std::vector<bool> seen(static_cast<std::size_t>(graph.n), false);
  for (const int32_t id : graph.order) {
    if (id < 0 || id >= graph.n || seen[static_cast<std::size_t>(id)]) {
      return wrong(fmt::format("order is no permutation of [0, {}): {}", graph.n, id));
    }
    seen[static_cast<std::size_t>(id)] = true;
  }
  return std::nullopt;
}

template <class T>
void put(std::string& out, const T* data, std::size_t count) {
  out.append(reinterpret_cast<const char*>(data), count * sizeof(T));
}

}  // namespace

int64_t GraphData::bytes() const {
  const std::size_t values = neighbors.size() + entry_points.size() + order.size();
  // Whole cache lines, so that the graphs of several cases can follow each other.
  return static_cast<int64_t>((sizeof(protocol::GraphHeader) + values * sizeof(int32_t) + 63) / 64 *
                              64);
}

int64_t build_exchange_bytes(int64_t n, int degree) {
  return (n * degree + protocol::kEntryCapacity + n) * static_cast<int64_t>(sizeof(int32_t));
}

Expected<GraphData> build_graph(WorkerProcess& worker, const BuildTask& task,
                                double deadline_seconds) {
  protocol::Message request;
  request.op = protocol::Op::kBuild;
  request.base_offset = task.base_offset;
  request.n = task.n;
  request.d = task.d;
  request.metric = task.metric;
  request.degree = task.degree;
  request.ef_construction = task.ef_construction;
  request.threads = task.threads;
  request.seed = task.seed;
  request.result_offset = protocol::kExchangeHeaderBytes;
  auto* values = reinterpret_cast<int32_t*>(worker.exchange());
  const int64_t needed = build_exchange_bytes(task.n, task.degree);
  std::memset(values, 0x81, static_cast<std::size_t>(needed));  // poison: no id
  const double before = worker.clocks().cpu;
  const auto reply =
      worker.call(request, deadline_seconds,
                  fmt::format("build (n {}, d {}, degree {})", task.n, task.d, task.degree));
  const double seconds = worker.clocks().cpu - before;
  if (!reply) return tl::make_unexpected(reply.error());

  if (reply->built_n != task.n || reply->built_degree < 1 ||
      reply->neighbor_count != reply->built_n * reply->built_degree) {
    return tl::make_unexpected(
        wrong(fmt::format("a graph of {} rows, degree {} and {} neighbours for {} vectors",
                          reply->built_n, reply->built_degree, reply->neighbor_count, task.n)));
  }
  if (reply->built_degree > task.degree) {
    return tl::make_unexpected(Failure{
        Outcome::kOverCap,
        fmt::format("build: degree {}, more than the {} given", reply->built_degree, task.degree)});
  }
  if (reply->entry_count < 1 || reply->entry_count > protocol::kEntryCapacity) {
    return tl::make_unexpected(wrong(fmt::format("{} entry points, must be in [1, {}]",
                                                 reply->entry_count, protocol::kEntryCapacity)));
  }
  if (reply->order_count != 0 && reply->order_count != task.n) {
    return tl::make_unexpected(
        wrong(fmt::format("an order of {} places for {} vectors", reply->order_count, task.n)));
  }
  GraphData graph;
  graph.n = task.n;
  // A graph of a lower degree than was allowed keeps its own: longer rows would be longer records.
  graph.degree = reply->built_degree;
  graph.build_seconds = seconds;
  graph.neighbors.assign(values, values + graph.n * graph.degree);
  const int32_t* entry_points = values + task.n * task.degree;
  graph.entry_points.assign(entry_points, entry_points + reply->entry_count);
  const int32_t* order = entry_points + protocol::kEntryCapacity;
  graph.order.assign(order, order + reply->order_count);
  if (auto fault = check_rows(graph)) return tl::make_unexpected(*fault);
  if (auto fault = check_ids(graph)) return tl::make_unexpected(*fault);
  return graph;
}

GraphData rename_graph(const GraphData& graph, std::span<const int32_t> rename) {
  if (rename.empty()) return graph;
  const auto renamed = [&](int32_t id) {
    return id < 0 ? id : rename[static_cast<std::size_t>(id)];
  };
  GraphData out;
  out.n = graph.n;
  out.degree = graph.degree;
  out.build_seconds = graph.build_seconds;
  out.neighbors.resize(graph.neighbors.size());
  for (int64_t i = 0; i < graph.n; ++i) {
    const int32_t* from = graph.neighbors.data() + i * graph.degree;
    int32_t* to = out.neighbors.data() + int64_t{renamed(static_cast<int32_t>(i))} * graph.degree;
    std::transform(from, from + graph.degree, to, renamed);
  }
  for (const int32_t id : graph.entry_points) out.entry_points.push_back(renamed(id));
  for (const int32_t id : graph.order) out.order.push_back(renamed(id));
  return out;
}

void write_graph(const GraphData& graph, std::span<const int32_t> rename, char* out) {
  const GraphData renamed = rename_graph(graph, rename);
  const protocol::GraphHeader header{renamed.n, renamed.degree,
                                     static_cast<int64_t>(renamed.entry_points.size()),
                                     static_cast<int64_t>(renamed.order.size())};
  std::memcpy(out, &header, sizeof header);
  out += sizeof header;
  for (const auto* values : {&renamed.neighbors, &renamed.entry_points, &renamed.order}) {
    if (values->empty()) continue;
    std::memcpy(out, values->data(), values->size() * sizeof(int32_t));
    out += values->size() * sizeof(int32_t);
  }
}

void save_graph(const GraphData& graph, const std::filesystem::path& path) {
  std::string body;
  put(body, kMagic, sizeof kMagic);
  const int64_t sizes[4] = {graph.n, graph.degree, static_cast<int64_t>(graph.entry_points.size()),
                            static_cast<int64_t>(graph.order.size())};
  put(body, sizes, 4);
  put(body, &graph.build_seconds, 1);
  put(body, graph.neighbors.data(), graph.neighbors.size());
  put(body, graph.entry_points.data(), graph.entry_points.size());
  put(body, graph.order.data(), graph.order.size());
  write_file_atomic(path, sha256_hex(body) + body);
}

std::optional<GraphData> load_graph(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  const std::string file = read_file(path);
  constexpr std::size_t kHead =
      kChecksumBytes + sizeof kMagic + 4 * sizeof(int64_t) + sizeof(double);
  if (file.size() < kHead ||
      sha256_hex(std::string_view(file).substr(kChecksumBytes)) != file.substr(0, kChecksumBytes)) {
    return std::nullopt;
  }
  const char* at = file.data() + kChecksumBytes + sizeof kMagic;
  int64_t sizes[4];
  std::memcpy(sizes, at, sizeof sizes);
  at += sizeof sizes;
  GraphData graph;
  graph.n = sizes[0];
  graph.degree = sizes[1];
  std::memcpy(&graph.build_seconds, at, sizeof graph.build_seconds);
  at += sizeof graph.build_seconds;
  const auto take = [&](std::vector<int32_t>& values, int64_t count) {
    values.resize(static_cast<std::size_t>(count));
    if (count > 0) std::memcpy(values.data(), at, values.size() * sizeof(int32_t));
    at += values.size() * sizeof(int32_t);
  };
  take(graph.neighbors, graph.n * graph.degree);
  take(graph.entry_points, sizes[2]);
  take(graph.order, sizes[3]);
  return graph;
}

}  // namespace crinn::harness
