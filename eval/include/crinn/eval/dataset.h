// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/matrix_view.h"

namespace crinn::eval {

/// An owned row-major fp32 matrix in huge pages.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols)
      : values_(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols)),
        rows_(rows),
        cols_(cols) {}
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  float* row(int64_t i) { return values_.data() + i * cols_; }
  const float* row(int64_t i) const { return values_.data() + i * cols_; }
  MatrixView<float> view() { return {values_.data(), rows_, cols_}; }
  MatrixView<const float> view() const { return {values_.data(), rows_, cols_}; }

 private:
  HugeArray<float> values_;
  int64_t rows_ = 0, cols_ = 0;
};

/// Exact neighbours, nearest first, ties by id. distances are ann::Metric's (squared L2, minus the
/// inner product, 2 - 2 cos) in fp64; places beyond n hold id -1 and +inf.
struct GroundTruth {
  int64_t queries = 0;
  int k = 0;
  std::vector<int64_t> ids;       ///< [queries, k]
  std::vector<double> distances;  ///< [queries, k]
};

struct Dataset {
  std::string name;
  ann::Metric metric = ann::Metric::kL2;
  Matrix base;               ///< [n, d] raw vectors, all finite
  Matrix queries;            ///< [nq, d]
  GroundTruth truth;         ///< k = 0 where the source has none
  std::string content_hash;  ///< SHA-256 over metric, base and queries: the key of caches
};

/// Loads a data set by
///  - a path: ann-benchmarks HDF5 (.hdf5/.h5); npy; fvecs/bvecs/ivecs; fbin/f16bin/u8bin/i8bin/
///    ibin. The flat formats hold vectors only: "base.fbin,queries.fbin" names both files, a third
///    one (ivecs, or ibin/bin in the big-ann layout) the ground truth; with one file the last
///    min(1000, n/10) rows are held out as queries.
///  - "fashion-mnist": Debian's package dataset-fashion-mnist, or the folder $CRINN_FASHION_MNIST
///  - "synthetic:n=...,d=...,clusters=...,metric=...,seed=...[,queries=...]"
///  - a name NAME: DIR/NAME.hdf5 for DIR in $CRINN_DATA (colon separated), then the current folder
/// `metric_override` is needed by formats that do not name a metric (default there: the suffix of
/// the name as in glove-25-angular, else euclidean); where it contradicts the file, it wins and the
/// stored truth is dropped. Stored distances are never used: truth.distances is recomputed in fp64.
/// Throws Error (data; usage for a wrong key or metric) that names the file, the row or the key;
/// sizes are checked before memory is allocated; NaN and Inf are refused with their row.
Dataset load_dataset(std::string_view name, std::string_view metric_override = {});

/// The base of a data set as named above, without queries or truth; of a flat format's single file,
/// all of its vectors.
Dataset load_base(std::string_view name, std::string_view metric_override = {});
/// The queries of a data set; of a flat format's single file, all of its vectors.
Matrix load_queries(std::string_view name);

/// Keeps the first `count` queries (and their truth) and renews the hash. No effect when there are
/// no more than that.
void limit_queries(Dataset& dataset, int64_t count);

/// SHA-256 over metric, shapes, base and queries: what content_hash must hold.
std::string hash_content(const Dataset& dataset);

/// Writes the ann-benchmarks layout: train, test, and where there is a truth neighbors and
/// distances (L2 not squared, 1 - cos, minus the inner product); attributes type, distance,
/// dimension, point_type. Atomic. Throws Error (data).
void write_hdf5(const Dataset& dataset, const std::filesystem::path& path);

/// Exact k nearest neighbours on the CPU: blocked fp32 pass with an error bound, fp64 re-rank of
/// the survivors; identical to a naive fp64 loop. base [n, d], queries [nq, d], 1 <= k; all values
/// finite. `memory_bytes` bounds the work space beside the vectors (0: about 256 MiB and what the
/// result takes). `leading_axes`: principal axes of the base by which rows are excluded before all
/// dimensions are multiplied, 256 at most, where memory allows; 0: none; nullopt: as many as a
/// sample says are fastest. Throws Error (usage), also where memory is too little; the least is
/// named.
GroundTruth exact_knn(MatrixView<const float> base, MatrixView<const float> queries,
                      ann::Metric metric, int k, int threads, int64_t memory_bytes = 0,
                      std::optional<int64_t> leading_axes = std::nullopt);

}  // namespace crinn::eval
