// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "crinn/gpu/knn.h"

namespace crinn::gpu {

/// The neighbours among base rows [first, first + count) as exact_knn() gives them, ids from 0.
using SearchShard = std::function<Neighbors(int shard, int64_t first, int64_t count)>;

/// Splits n rows into at most `shards` ranges of nearly equal size, searches each in a thread of
/// its own, and merges. The plans of several shards are listed. The first error is thrown once all
/// threads have stopped.
Neighbors search_shards(int64_t n, int64_t queries, int k, int shards, const SearchShard& search);

/// What every form of exact_knn refuses. Throws Error (usage).
void check_knn(const KnnMatrix& queries, const KnnMatrix& base, int k, const KnnOptions& options);

}  // namespace crinn::gpu
