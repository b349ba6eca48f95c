// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "crinn/ann/module.h"

/// What crosses the border between the worker process and a compiled module: one exported function
/// that returns a table of plain functions. Only the worker and the generated translation unit
/// include this.
namespace crinn::harness {

inline constexpr uint32_t kModuleAbiVersion = 1;
inline constexpr char kModuleTableSymbol[] = "crinn_module_table_v1";

/// Everything is borrowed; base and graph outlive the handle.
struct PrepareArguments {
  const float* base;  ///< [n, d]
  int64_t n, d;
  int32_t metric;
  int32_t degree;
  const int32_t* neighbors;  ///< [n, degree]
  const int32_t* entry_points;
  const int32_t* order;
  int64_t entry_count, order_count;
  uint64_t seed;
  int32_t threads;
};

struct BuildArguments {
  const float* base;  ///< [n, d]
  int64_t n, d;
  int32_t metric, degree, ef_construction, threads;
  uint64_t seed;
  int32_t* neighbors;     ///< out [n, the graph's degree], room for [n, degree]
  int32_t* entry_points;  ///< out [entry_capacity]
  int32_t* order;         ///< out [n]
  int64_t entry_capacity;
};

/// How a build ended; counts are what the module returned, also where they did not fit.
struct BuildResult {
  int64_t n = 0, degree = 0, neighbor_count = 0, entry_count = 0, order_count = 0;
};

struct ModuleTable {
  uint32_t version;
  void* (*prepare)(const PrepareArguments&);
  void (*release)(void* handle);
  /// queries [count, d] -> ids [count, k].
  void (*search)(void* handle, const float* queries, int64_t count, int64_t d, int k, int ef,
                 int32_t* ids);
  uint64_t (*distance_count)(const void* handle);
  BuildResult (*build)(const BuildArguments&);
};

/// A prepared pipeline with its scratch, behind a void*.
template <class Search, class Refinement>
struct PipelineGlue {
  using Pipeline = ann::Pipeline<Search, Refinement>;
  Pipeline pipeline;
  typename Pipeline::Scratch scratch;
  // One query at a time: where the batch lies, the next queries would be within reach.
  std::vector<float> query;
  std::vector<int32_t> answer;

  explicit PipelineGlue(const ann::SearchInput& input)
      : pipeline(input), scratch(pipeline.make_scratch()) {}

  static void* prepare(const PrepareArguments& in) {
    ann::SearchInput input;
    input.base = {in.base, in.n, in.d};
    input.metric = static_cast<ann::Metric>(in.metric);
    input.graph = ann::GraphView({in.neighbors, in.n, in.degree},
                                 {in.entry_points, static_cast<std::size_t>(in.entry_count)},
                                 {in.order, static_cast<std::size_t>(in.order_count)});
    input.seed = in.seed;
    input.threads = in.threads;
    return new PipelineGlue(input);
  }
  static void release(void* handle) { delete static_cast<PipelineGlue*>(handle); }
  static void search(void* handle, const float* queries, int64_t count, int64_t d, int k, int ef,
                     int32_t* ids) {
    auto* self = static_cast<PipelineGlue*>(handle);
    self->answer.resize(static_cast<std::size_t>(k));
    for (int64_t i = 0; i < count; ++i) {
      self->query.assign(queries + i * d, queries + (i + 1) * d);
      std::copy_n(ids + i * k, k, self->answer.data());  // poison: what is not written is seen
      self->pipeline.search(self->query.data(), k, ef, self->scratch, self->answer.data());
      std::copy_n(self->answer.data(), k, ids + i * k);
    }
  }
  static uint64_t distance_count(const void* handle) {
    return static_cast<const PipelineGlue*>(handle)->scratch.search.distance_count;
  }
  static constexpr ModuleTable table() {
    return {kModuleAbiVersion, prepare, release, search, distance_count, nullptr};
  }
};

template <class Construction>
struct ConstructionGlue {
  static BuildResult build(const BuildArguments& in) {
    ann::BuildInput input;
    input.base = {in.base, in.n, in.d};
    input.metric = static_cast<ann::Metric>(in.metric);
    input.degree = in.degree;
    input.ef_construction = in.ef_construction;
    input.seed = in.seed;
    input.threads = in.threads;
    const ann::Graph graph = Construction::build(input);
    BuildResult result{graph.n, graph.degree, static_cast<int64_t>(graph.neighbors.size()),
                       static_cast<int64_t>(graph.entry_points.size()),
                       static_cast<int64_t>(graph.order.size())};
    // What does not fit is not copied: the parent sees the counts and refuses.
    if (result.n != in.n || result.degree > in.degree || result.degree < 1 ||
        result.neighbor_count != result.n * result.degree ||
        result.entry_count > in.entry_capacity || result.order_count > in.n) {
      return result;
    }
    std::memcpy(in.neighbors, graph.neighbors.data(), sizeof(int32_t) * graph.neighbors.size());
    std::memcpy(in.entry_points, graph.entry_points.data(),
                sizeof(int32_t) * graph.entry_points.size());
    if (!graph.order.empty()) {
      std::memcpy(in.order, graph.order.data(), sizeof(int32_t) * graph.order.size());
    }
    return result;
  }
  static constexpr ModuleTable table() {
    return {kModuleAbiVersion, nullptr, nullptr, nullptr, nullptr, build};
  }
};

}  // namespace crinn::harness
