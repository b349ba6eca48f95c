// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "crinn/ann/index_file.h"
#include "crinn/base/matrix_view.h"

namespace crinn::eval {

/// An index of one of the tree's systems, whichever it is. Any number of threads may search it.
class SavedIndex {
 public:
  virtual ~SavedIndex() = default;

  virtual std::string_view system() const = 0;  ///< "baseline" or "champion"
  virtual ann::Metric metric() const = 0;
  virtual const ann::IndexParams& params() const = 0;
  virtual MatrixView<const float> base() const = 0;  ///< [n, d]; unit rows under kCosine
  virtual void save(const std::filesystem::path& path) const = 0;
  /// queries [nq, d] raw -> ids [nq, k], nearest first, -1 beyond n. Throws Error (usage) on
  /// another d, or k < 1.
  virtual void search(MatrixView<const float> queries, int k, int ef, int threads,
                      int32_t* ids) const = 0;
};

/// Builds the system's index on `base` [n, d]. Throws Error (usage) on an unknown system and on
/// what ann::Index::build refuses. `progress` is told how far the graph is.
std::unique_ptr<SavedIndex> build_index(std::string_view system, MatrixView<const float> base,
                                        ann::Metric metric, const ann::IndexParams& params,
                                        int threads, const ann::BuildProgress& progress = {});

/// Reads an index of any of the systems. Throws Error (data) that names the file and the field.
std::unique_ptr<SavedIndex> open_index(const std::filesystem::path& path, int threads);

struct TunedEffort {
  int ef = 0;
  double recall = 0;  ///< of the sample at this ef
};

/// The least effort, to about 5 %, at which recall@k by distance reaches `recall` on `sample`
/// random vectors of the base, each without itself among its answers. Queries from elsewhere than
/// the base are harder. Throws Error (usage) where recall no longer
/// grows and is below.
TunedEffort tune_effort(const SavedIndex& index, int k, double recall, int64_t sample,
                        uint64_t seed, int threads);

}  // namespace crinn::eval
