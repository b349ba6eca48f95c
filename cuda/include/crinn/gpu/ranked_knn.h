// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "crinn/gpu/comm.h"
#include "crinn/gpu/knn.h"

namespace crinn::gpu {

/// A search that several ranks share, as one of them sees it: all have all queries, each has rows
/// of the base of its own.
struct RankedSearch {
  int64_t queries = 0, d = 0;
  int k = 0;
  ann::Metric metric = ann::Metric::kL2;
  int64_t first_id = 0, rows = 0;  ///< this rank's rows have the ids [first_id, first_id + rows)
};

/// The neighbours among the rows of all ranks, the same on every rank and for any split. `find`
/// gives those among this rank's rows, [queries, k], as exact_knn() does, with ids from 0; it is
/// not called without rows. What it throws on one rank is thrown on all; the others' message names
/// the rank. Throws Error (usage) that names the ranks whose queries, d, k or metric differ from
/// rank 0's or that have the same rows; otherwise as Comm::all_gather(). A rank gives at most
/// `block_bytes`, or one query's neighbours, at a time.
Neighbors ranked_knn(Comm& comm, const RankedSearch& search, const std::function<Neighbors()>& find,
                     int64_t block_bytes = int64_t{32} << 20);

/// exact_knn() of `base`, this rank's rows, by the devices of the options, within ranked_knn().
Neighbors exact_knn(Comm& comm, const KnnMatrix& queries, const KnnMatrix& base, int64_t first_id,
                    ann::Metric metric, int k, const KnnOptions& options = {});

}  // namespace crinn::gpu
