// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "crinn/eval/ground_truth.h"
#include "crinn/gpu/knn.h"

/// What prepare_truth() and StreamedTruth have in common.
namespace crinn::eval {

/// The source that kAuto stands for where `stored_k` neighbours are stored; another one as it is.
/// Throws Error (usage) on k < 1, Error (data) that names the data set where kFile stores fewer
/// than k.
TruthSource resolve_source(TruthSource source, int stored_k, int k, std::string_view name);

/// The first k columns of a truth that has at least as many.
GroundTruth truncate_columns(GroundTruth truth, int k);

/// The truth that `folder` keeps for a content hash, if it is there and whole; a warning names a
/// file that is damaged.
std::optional<GroundTruth> read_cached_truth(const std::filesystem::path& folder,
                                             std::string_view content_hash, int64_t queries, int k);
/// Keeps a truth. What cannot be written costs a warning only.
void cache_truth(const std::filesystem::path& folder, std::string_view content_hash,
                 const GroundTruth& truth);
/// Whether `folder` keeps any truth of that shape: if not, no hash needs to be known.
bool caches_truth_of(const std::filesystem::path& folder, int64_t queries, int k);

/// The k nearest rows of a slice of a base to each query, by their ids in the base, whose rows from
/// `first` on the slice holds: by the devices of `resources` (kGpu), else by exact_knn() in
/// `work_bytes`.
gpu::Neighbors slice_neighbors(TruthSource source, MatrixView<const float> queries,
                               const Matrix& slice, int64_t first, ann::Metric metric, int k,
                               int threads, const TruthResources& resources, int64_t work_bytes);

}  // namespace crinn::eval
