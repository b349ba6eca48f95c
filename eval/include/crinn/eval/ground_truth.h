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

/// As parse_truth_source() reads it.
std::string_view to_string(TruthSource source);

/// What finding the truth may use.
struct TruthResources {
  int64_t memory_bytes = 0;        ///< of each device, or of the host beside the vectors; 0: ample
  std::vector<int> devices = {0};  ///< of kGpu
  bool recompute = false;          ///< do not read the cache
};

/// Where a truth came from: kFile, kCpu or kGpu, of which the latter two may have been found
/// earlier, by either, and kept in the cache.
struct TruthOrigin {
  TruthSource source = TruthSource::kFile;
  bool cached = false;
};

/// Leaves `dataset.truth` with exactly k columns. kFile throws Error (data) where the source stores
/// fewer; kGpu throws Error (device) without a device. All sources give the same neighbours where
/// the stored ones are exact: so what kCpu or kGpu find is kept in `cache_folder` (empty: nowhere),
/// under content hash, k and format version, with a checksum, and serves both. A damaged file is
/// recomputed with a warning; an unwritable folder costs a warning only. Throws Error (usage) where
/// the memory is too little; the least is named.
TruthOrigin prepare_truth(Dataset& dataset, TruthSource source, int k, int threads,
                          const std::filesystem::path& cache_folder,
                          const TruthResources& resources = {});

/// Throws Error (usage) on a suffix that write_ground_truth does not know.
void check_truth_suffix(const std::filesystem::path& path);

/// Writes neighbours and distances by suffix: .hdf5/.h5 (datasets neighbors and distances as in
/// ann-benchmarks: L2 not squared, 1 - cos, minus the inner product) or .ibin/.bin (big-ann: u32 n,
/// u32 k, i32 ids, f32 distances of ann::Metric), or, where the name ends in .neighbors.ibin, as
/// cuvs-bench's pair: u32 n, u32 k, i32 ids there, and the same header and f32 distances of
/// ann::Metric in a file .distances.fbin beside it. Atomic, each file. Throws Error (usage) on
/// another suffix.
void write_ground_truth(const GroundTruth& truth, ann::Metric metric,
                        const std::filesystem::path& path);

/// [queries] distance of the k-th neighbour, 1 <= k <= truth.k: what recall compares with.
std::vector<double> kth_distances(const GroundTruth& truth, int k);

}  // namespace crinn::eval
