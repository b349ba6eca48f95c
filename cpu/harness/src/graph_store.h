// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "worker_process.h"

namespace crinn::harness {

/// A graph outside of any worker, checked.
struct GraphData {
  int64_t n = 0;
  int64_t degree = 0;
  std::vector<int32_t> neighbors;  ///< [n, degree], -1 padded
  std::vector<int32_t> entry_points, order;
  double build_seconds = 0;  ///< CPU time of the build

  /// Bytes of write()'s output.
  int64_t bytes() const;
};

/// Bytes of the exchange that a build of [n, degree] needs.
int64_t build_exchange_bytes(int64_t n, int degree);

/// What to build in a worker whose module is a construction.
struct BuildTask {
  int64_t base_offset = 0;  ///< bytes in the worker's base
  int64_t n = 0, d = 0;
  int metric = 0, degree = 32, ef_construction = 200, threads = 1;
  uint64_t seed = 0;
};

/// Runs the build, copies the graph out, and checks it: ids in range, no self-loop and no
/// duplicate in a row, padding only at the end, entry points in range, order a permutation.
Expected<GraphData> build_graph(WorkerProcess& worker, const BuildTask& task,
                                double deadline_seconds);

/// The graph with every id i replaced by rename[i] and rows moved alike (an empty rename: as it
/// is), in the layout of protocol::GraphHeader.
void write_graph(const GraphData& graph, std::span<const int32_t> rename, char* out);
/// The same as a value.
GraphData rename_graph(const GraphData& graph, std::span<const int32_t> rename);

void save_graph(const GraphData& graph, const std::filesystem::path& path);
/// nullopt where there is no such file or it is damaged.
std::optional<GraphData> load_graph(const std::filesystem::path& path);

}  // namespace crinn::harness
