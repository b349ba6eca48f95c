// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/ground_truth.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <string>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/gpu/knn.h"
#include "truth_distance.h"

namespace crinn::eval {
namespace {

/// The first k columns.
GroundTruth truncate_columns(const GroundTruth& truth, int k) {
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
  if (name == "auto") return TruthSource::kAuto;
  if (name == "file") return TruthSource::kFile;
  if (name == "cpu") return TruthSource::kCpu;
  if (name == "gpu") return TruthSource::kGpu;
  return std::nullopt;
}

void prepare_truth(Dataset& dataset, TruthSource source, int k, int threads,
                   const std::filesystem::path& cache_folder, const TruthResources& resources) {
  if (k < 1) throw Error(ErrorCategory::kUsage, fmt::format("prepare_truth: k = {} is below 1", k));
  if (source == TruthSource::kAuto) {
    source = dataset.truth.k >= k ? TruthSource::kFile : TruthSource::kCpu;
  }
  switch (source) {
    case TruthSource::kAuto:
    case TruthSource::kFile:
      if (dataset.truth.k < k) {
        throw Error(ErrorCategory::kData,
                    fmt::format("prepare_truth: {} stores {} neighbours a query, k = {} are "
                                "wanted; use --groundtruth cpu",
                                dataset.name, dataset.truth.k, k));
      }
      if (dataset.truth.k > k) dataset.truth = truncate_columns(dataset.truth, k);
      return;
    case TruthSource::kCpu:
      dataset.truth = cached_exact_knn(dataset, k, threads, cache_folder, resources.memory_bytes);
      return;
    case TruthSource::kGpu:
      gpu::Neighbors found =
          gpu::exact_knn(dataset.queries.view(), dataset.base.view(), dataset.metric, k,
                         {resources.devices, resources.memory_bytes, gpu::KnnPath::kAuto});
      spdlog::info("ground truth: {}", found.plan);
      dataset.truth = {dataset.queries.rows(), k, std::move(found.ids), std::move(found.distances)};
      return;
  }
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

}  // namespace crinn::eval
