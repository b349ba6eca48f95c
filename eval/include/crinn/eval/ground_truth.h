// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "crinn/eval/dataset.h"

namespace crinn::eval {

/// Where the truth comes from. kAuto: the file where it stores at least k neighbours, else kCpu.
enum class TruthSource { kAuto, kFile, kCpu, kGpu };

/// "auto", "file", "cpu" or "gpu".
std::optional<TruthSource> parse_truth_source(std::string_view name);

/// Leaves `dataset.truth` with exactly k columns. kFile throws Error (data) where the source stores
/// fewer; kGpu throws Error (device) without a device; kCpu reads and fills the cache in
/// `cache_folder`. All sources give the same neighbours where the stored ones are exact.
void prepare_truth(Dataset& dataset, TruthSource source, int k, int threads,
                   const std::filesystem::path& cache_folder);

/// exact_knn() kept in `folder` under content hash, k and format version, with a checksum. A
/// damaged file is recomputed with a warning; an unwritable folder costs a warning only.
GroundTruth cached_exact_knn(const Dataset& dataset, int k, int threads,
                             const std::filesystem::path& folder);

/// Throws Error (usage) on a suffix that write_ground_truth does not know.
void check_truth_suffix(const std::filesystem::path& path);

/// Writes neighbours and distances by suffix: .hdf5/.h5 (datasets neighbors and distances as in
/// ann-benchmarks: L2 not squared, 1 - cos, minus the inner product) or .ibin/.bin (big-ann: u32 n,
/// u32 k, i32 ids, f32 distances of ann::Metric). Atomic. Throws Error (usage) on another suffix.
void write_ground_truth(const GroundTruth& truth, ann::Metric metric,
                        const std::filesystem::path& path);

/// [queries] distance of the k-th neighbour, 1 <= k <= truth.k: what recall compares with.
std::vector<double> kth_distances(const GroundTruth& truth, int k);

}  // namespace crinn::eval
