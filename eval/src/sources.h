// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "crinn/base/error.h"
#include "crinn/base/hash.h"
#include "crinn/eval/dataset.h"
#include "row_source.h"

/// The sources of data sets, one function each; load_dataset() chooses among them.
namespace crinn::eval {

/// A data set before the checks that all sources share. `metric` is empty where the source does not
/// name one.
struct RawDataset {
  Matrix base, queries;
  std::optional<ann::Metric> metric;
  /// Stored ids [queries, truth_k], -1 for padding; empty where the source has none.
  std::vector<int64_t> truth_ids;
  int truth_k = 0;
  std::string truth_source;  ///< what an error about the truth names
};

/// A data set whose base stays in its file; that of `rest` is empty.
struct OpenDataset {
  std::string name;
  RowSource base;
  RawDataset rest;
};

/// "base" or "base,queries" or "base,queries,truth" of the flat formats.
OpenDataset open_flat(std::string_view name);
OpenDataset open_hdf5(const std::filesystem::path& path);
/// The data set of a name as load_dataset() takes it, unless is_made(name). Queries and stored
/// neighbours are read, the base is not.
OpenDataset open_dataset(std::string_view name);
/// Whether a name stands for a data set that is generated or decompressed: it has no file to read
/// slices of.
bool is_made(std::string_view name);
RawDataset load_fashion_mnist();
/// `spec` is what follows "synthetic:".
RawDataset generate_synthetic(std::string_view spec);

/// One matrix by its suffix (fvecs, bvecs, ivecs, fbin, f16bin, u8bin, i8bin, ibin, npy).
RowSource open_matrix(const std::filesystem::path& path);
Matrix read_matrix(const std::filesystem::path& path);
bool is_flat_format(const std::filesystem::path& path);
/// Stored neighbours by suffix (ivecs; ibin/bin with or without distances).
void read_truth(const std::filesystem::path& path, RawDataset& data);
/// Decompressed idx3 images, one a row.
Matrix read_idx3_gz(const std::filesystem::path& path);

/// Throws Error (data) that names `source` and the first row with NaN or Inf; row 0 of the matrix
/// is called `first_row`.
void require_finite(const Matrix& matrix, const std::string& source, int64_t first_row = 0);
/// Throws Error (data) unless 1 <= rows <= 2^31 - 1 and 1 <= cols and both fit `bytes_available`
/// when an element takes at least `element_bytes`; so a corrupt header cannot ask for memory.
void require_shape(const std::string& source, int64_t rows, int64_t cols, int64_t element_bytes,
                   int64_t bytes_available);
/// Throws Error (data) that names the data set where base and queries do not go together.
void require_same_dimension(std::string_view name, int64_t base_cols, int64_t query_cols);

/// The metric of a data set: the override where given, else what the source says, else what the
/// suffix of `title` says, else kL2. Stored neighbours by another metric are dropped with a warning
/// that names `name`. Throws Error (usage) on an override that is no metric.
ann::Metric settle_metric(RawDataset& raw, std::string_view name, std::string_view title,
                          std::string_view metric_override);
/// The stored neighbours as a truth, rows sorted by (distance, id). distances [queries, truth_k] of
/// the stored ids. Throws Error (data) on an id that is not in [0, base_rows) or is there twice.
GroundTruth order_truth(const RawDataset& raw, std::vector<double> distances, int64_t base_rows);

/// Keeps the first rows of a matrix.
void truncate_rows(Matrix& matrix, int64_t rows);

/// Dataset::content_hash piece by piece: the rows of the base in order. Borrows the queries.
class ContentHash {
 public:
  ContentHash(ann::Metric metric, int64_t base_rows, int64_t base_cols, const Matrix& queries);
  void add(const Matrix& rows);
  /// Once, after all rows.
  std::string hex();

 private:
  Sha256 hash_;
  const Matrix& queries_;
};

/// The least `memory_bytes` of exact_knn() for data of that shape.
int64_t exact_knn_least(int64_t rows, int64_t d, int64_t queries, int k, int threads);

/// Writes through a temporary file beside `path` that is renamed when `write` has returned.
void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& temporary)>& write);

}  // namespace crinn::eval
