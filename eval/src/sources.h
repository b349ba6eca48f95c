// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "crinn/base/error.h"
#include "crinn/eval/dataset.h"

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

/// "base" or "base,queries" or "base,queries,truth" of the flat formats.
RawDataset load_flat(std::string_view name);
RawDataset load_hdf5(const std::filesystem::path& path);
RawDataset load_fashion_mnist();
/// `spec` is what follows "synthetic:".
RawDataset generate_synthetic(std::string_view spec);

/// One matrix by its suffix (fvecs, bvecs, ivecs, fbin, u8bin, i8bin, ibin, npy).
Matrix read_matrix(const std::filesystem::path& path);
bool is_flat_format(const std::filesystem::path& path);
/// Stored neighbours by suffix (ivecs; ibin/bin with or without distances).
void read_truth(const std::filesystem::path& path, RawDataset& data);
/// Decompressed idx3 images, one a row.
Matrix read_idx3_gz(const std::filesystem::path& path);

/// Throws Error (data) that names `source` and the first row with NaN or Inf; row 0 of the matrix
/// is called `first_row`.
void require_finite(const Matrix& matrix, const std::string& source, int64_t first_row = 0);
/// The metric of a source that does not name one: `override` where given, else the suffix of
/// `name`, else kL2. Throws Error (usage) on an override that is no metric.
ann::Metric choose_metric(std::string_view name, std::string_view override_name);
/// Keeps the first rows of a matrix.
void truncate_rows(Matrix& matrix, int64_t rows);
/// Throws Error (data) unless 1 <= rows <= 2^31 - 1 and 1 <= cols and both fit `bytes_available`
/// when an element takes at least `element_bytes`; so a corrupt header cannot ask for memory.
void require_shape(const std::string& source, int64_t rows, int64_t cols, int64_t element_bytes,
                   int64_t bytes_available);

/// Writes through a temporary file beside `path` that is renamed when `write` has returned.
void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& temporary)>& write);

}  // namespace crinn::eval
