// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "crinn/ann/metric.h"
#include "crinn/ann/module.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// What an index is built with.
struct IndexParams {
  int degree = 32;            ///< R: an upper bound of every node's degree
  int ef_construction = 200;  ///< effort of the build
  uint64_t seed = 0;          ///< same seed, same index, at any number of threads
};

/// All of an index that goes into a file: what search and refinement modules are prepared from.
struct IndexData {
  Metric metric = Metric::kL2;
  IndexParams params;
  std::string construction, search, refinement;  ///< the modules' type names
  int64_t n = 0, d = 0;
  HugeArray<float> vectors;  ///< [n, d] row-major; unit rows under kCosine
  Graph graph;

  MatrixView<const float> base() const { return {vectors.data(), n, d}; }
};

/// A copy of `base`, normalised under kCosine, without a graph. Throws Error (usage) on an empty
/// base, a parameter out of range, and a value that is not finite (with its row).
IndexData copy_base(MatrixView<const float> base, Metric metric, const IndexParams& params);

/// Writes format version 1, little endian, by an atomic rename: a header of fixed size (magic
/// "CRINNIDX", version, metric, sizes, parameters, module names), vectors fp32 [n, d], neighbours
/// int32 [n, degree], entry points int32, order int32 [n] or nothing, SHA-256 of all before it.
/// Throws Error (data).
void save_index(const std::filesystem::path& path, const IndexData& data);

/// Reads what save_index wrote. Throws Error (data) that names the file and the field on anything
/// else: the size is checked against the header before memory is allocated, the checksum before
/// the content is looked at, and ids before anyone follows them.
IndexData load_index(const std::filesystem::path& path);

}  // namespace crinn::ann
