// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/ground_truth.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <string>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/eval/defer_interrupt.h"
#include "crinn/gpu/knn.h"
#include "truth_distance.h"
#include "truth_sources.h"

namespace crinn::eval {
namespace {

void append(std::string& out, const void* data, std::size_t bytes) {
  out.append(static_cast<const char*>(data), bytes);
}

/// u32 n, u32 k.
std::string header_bytes(const GroundTruth& truth) {
  std::string out;
  const uint32_t header[] = {static_cast<uint32_t>(truth.queries), static_cast<uint32_t>(truth.k)};
  append(out, header, sizeof header);
  return out;
}

/// n k i32 ids.
std::string id_bytes(const GroundTruth& truth) {
  std::string out;
  for (const int64_t id : truth.ids) {
    const auto narrow = static_cast<int32_t>(id);
    append(out, &narrow, sizeof narrow);
  }
  return out;
}

/// n k f32 distances.
std::string distance_bytes(const GroundTruth& truth) {
  std::string out;
  for (const double distance : truth.distances) {
    const auto narrow = static_cast<float>(distance);
    append(out, &narrow, sizeof narrow);
  }
  return out;
}

constexpr std::string_view kNeighborsSuffix = ".neighbors.ibin",
                           kDistancesSuffix = ".distances.fbin";

/// The second file of cuvs-bench's pair; empty where `path` is not its first.
std::filesystem::path distances_path(const std::filesystem::path& path) {
  const std::string name = path.string();
  if (!name.ends_with(kNeighborsSuffix)) return {};
  return name.substr(0, name.size() - kNeighborsSuffix.size()).append(kDistancesSuffix);
}

}  // namespace

std::optional<TruthSource> parse_truth_source(std::string_view name) {
  for (const TruthSource source :
       {TruthSource::kAuto, TruthSource::kFile, TruthSource::kCpu, TruthSource::kGpu}) {
    if (name == to_string(source)) return source;
  }
  return std::nullopt;
}

std::string_view to_string(TruthSource source) {
  switch (source) {
    case TruthSource::kAuto: return "auto";
    case TruthSource::kFile: return "file";
    case TruthSource::kCpu: return "cpu";
    case TruthSource::kGpu: return "gpu";
  }
  return "unknown";
}

TruthSource resolve_source(TruthSource source, int stored_k, int k, std::string_view name) {
  if (k < 1) throw Error(ErrorCategory::kUsage, fmt::format("prepare_truth: k = {} is below 1", k));
  if (source == TruthSource::kAuto) {
    source = stored_k >= k ? TruthSource::kFile : TruthSource::kCpu;
  }
  if (source == TruthSource::kFile && stored_k < k) {
    throw Error(ErrorCategory::kData,
                fmt::format("prepare_truth: {} stores {} neighbours a query, k = {} are wanted; "
                            "use --groundtruth cpu",
                            name, stored_k, k));
  }
  return source;
}

GroundTruth truncate_columns(GroundTruth truth, int k) {
  if (truth.k == k) return truth;
  GroundTruth result;
  result.queries = truth.queries;
  result.k = k;
  for (int64_t q = 0; q < truth.queries; ++q) {
    const auto ids = truth.ids.begin() + q * truth.k;
    const auto distances = truth.distances.begin() + q * truth.k;
    result.ids.insert(result.ids.end(), ids, ids + k);
    result.distances.insert(result.distances.end(), distances, distances + k);
  }
  return result;
}

TruthOrigin prepare_truth(Dataset& dataset, TruthSource source, int k, int threads,
                          const std::filesystem::path& cache_folder,
                          const TruthResources& resources) {
  source = resolve_source(source, dataset.truth.k, k, dataset.name);
  if (source == TruthSource::kFile) {
    dataset.truth = truncate_columns(std::move(dataset.truth), k);
    return {source, false};
  }
  const bool caches = !cache_folder.empty();
  if (caches && !resources.recompute) {
    auto known = read_cached_truth(cache_folder, dataset.content_hash, dataset.queries.rows(), k);
    if (known) {
      dataset.truth = *std::move(known);
      return {source, true};
    }
  }
  const MatrixView<const float> base = dataset.base.view(), queries = dataset.queries.view();
  if (source == TruthSource::kGpu) {
    gpu::Neighbors found =
        gpu::exact_knn(queries, base, dataset.metric, k,
                       {resources.devices, resources.memory_bytes, gpu::KnnPath::kAuto});
    spdlog::info("ground truth: {}", found.plan);
    dataset.truth = {queries.rows, k, std::move(found.ids), std::move(found.distances)};
  } else {
    dataset.truth = exact_knn(base, queries, dataset.metric, k, threads, resources.memory_bytes);
  }
  if (caches) cache_truth(cache_folder, dataset.content_hash, dataset.truth);
  return {source, false};
}

void check_truth_suffix(const std::filesystem::path& path) {
  const std::string suffix = path.extension().string();
  for (const char* known : {".hdf5", ".h5", ".ibin", ".bin"}) {
    if (suffix == known) return;
  }
  throw Error(ErrorCategory::kUsage,
              fmt::format("write_ground_truth: {}: the suffix is none of .hdf5, .h5, .ibin, .bin",
                          path.string()));
}

void write_ground_truth(const GroundTruth& truth, ann::Metric metric,
                        const std::filesystem::path& path) {
  check_truth_suffix(path);
  const DeferInterrupt whole;
  const std::string suffix = path.extension().string();
  if (suffix == ".hdf5" || suffix == ".h5") {
    write_hdf5_truth(truth, metric, path);
  } else if (const std::filesystem::path distances = distances_path(path); !distances.empty()) {
    write_file_atomic(distances, header_bytes(truth) + distance_bytes(truth));
    write_file_atomic(path, header_bytes(truth) + id_bytes(truth));
  } else {
    write_file_atomic(path, header_bytes(truth) + id_bytes(truth) + distance_bytes(truth));
  }
}

std::vector<double> kth_distances(const GroundTruth& truth, int k) {
  if (k < 1 || k > truth.k) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("kth_distances: k = {} is not in [1, {}]", k, truth.k));
  }
  std::vector<double> result;
  result.reserve(static_cast<std::size_t>(truth.queries));
  for (int64_t q = 0; q < truth.queries; ++q) {
    result.push_back(truth.distances[static_cast<std::size_t>(q * truth.k + k - 1)]);
  }
  return result;
}

gpu::Neighbors slice_neighbors(TruthSource source, MatrixView<const float> queries,
                               const Matrix& slice, int64_t first, ann::Metric metric, int k,
                               int threads, const TruthResources& resources, int64_t work_bytes) {
  gpu::Neighbors part;
  if (source == TruthSource::kGpu) {
    part = gpu::exact_knn(queries, slice.view(), metric, k,
                          {resources.devices, resources.memory_bytes, gpu::KnnPath::kAuto});
  } else {
    GroundTruth truth = exact_knn(slice.view(), queries, metric, k, threads, work_bytes);
    part.ids = std::move(truth.ids);
    part.distances = std::move(truth.distances);
  }
  for (int64_t& id : part.ids) {
    if (id >= 0) id += first;
  }
  return part;
}

}  // namespace crinn::eval
