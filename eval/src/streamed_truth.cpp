// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/streamed_truth.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/progress.h"
#include "crinn/gpu/knn.h"
#include "formats_flat.h"
#include "sources.h"

namespace crinn::eval {

namespace fs = std::filesystem;

struct StreamedTruth::Base {
  explicit Base(const fs::path& path) : file(path), layout(layout_of(file, path)) {}
  BinaryFile file;
  Layout layout;
};

bool StreamedTruth::serves(std::string_view name) {
  const std::size_t comma = name.find(',');
  return comma != std::string_view::npos && name.find(',', comma + 1) == std::string_view::npos &&
         is_flat_format(fs::path(name.substr(0, comma))) &&
         is_flat_format(fs::path(name.substr(comma + 1)));
}

StreamedTruth::StreamedTruth(std::string_view name, std::string_view metric_override,
                             int64_t query_limit, int64_t slice_bytes) {
  const std::size_t comma = name.find(',');
  const fs::path base(name.substr(0, comma)), queries(name.substr(comma + 1));
  name_ = base.stem().string();
  metric_ = choose_metric(name_, metric_override);
  base_ = std::make_unique<Base>(base);
  queries_ = read_matrix(queries);
  if (query_limit > 0 && query_limit < queries_.rows()) truncate_rows(queries_, query_limit);
  if (base_->layout.cols != queries_.cols()) {
    throw Error(ErrorCategory::kData,
                fmt::format("load_dataset: {}: the base has {} dimensions, the queries have {}",
                            name, base_->layout.cols, queries_.cols()));
  }
  const int64_t row_bytes = queries_.cols() * int64_t{sizeof(float)};
  slice_rows_ = std::clamp<int64_t>(slice_bytes / row_bytes, 1, base_->layout.rows);
}

StreamedTruth::~StreamedTruth() = default;

int64_t StreamedTruth::base_rows() const { return base_->layout.rows; }

int64_t StreamedTruth::slices() const { return (base_rows() + slice_rows_ - 1) / slice_rows_; }

GroundTruth StreamedTruth::find(TruthSource source, int k, int threads,
                                const TruthResources& resources) const {
  const int64_t n = base_rows();
  gpu::Neighbors nearest = gpu::merge_neighbors({}, queries_.rows(), k);
  Progress progress("exact k-NN, slice by slice", n);
  for (int64_t first = 0; first < n; first += slice_rows_) {
    const Matrix slice =
        read_rows(base_->file, base_->layout, first, std::min(slice_rows_, n - first));
    gpu::Neighbors part;
    if (source == TruthSource::kGpu) {
      part = gpu::exact_knn(queries_.view(), slice.view(), metric_, k,
                            {resources.devices, resources.memory_bytes, gpu::KnnPath::kAuto});
    } else {
      GroundTruth truth =
          exact_knn(slice.view(), queries_.view(), metric_, k, threads, resources.memory_bytes);
      part.ids = std::move(truth.ids);
      part.distances = std::move(truth.distances);
    }
    for (int64_t& id : part.ids) {
      if (id >= 0) id += first;
    }
    nearest = gpu::merge_neighbors({nearest, part}, queries_.rows(), k);
    progress.update(first + slice.rows());
  }
  return {queries_.rows(), k, std::move(nearest.ids), std::move(nearest.distances)};
}

Verification StreamedTruth::verify(const GroundTruth& truth, int64_t count, uint64_t seed,
                                   int threads) const {
  TruthCheck check(truth, queries_.view(), metric_, count, seed);
  Progress progress("verifying", base_rows());
  for (int64_t first = 0; first < base_rows(); first += slice_rows_) {
    const Matrix slice =
        read_rows(base_->file, base_->layout, first, std::min(slice_rows_, base_rows() - first));
    check.add(slice.view(), first, threads);
    progress.update(first + slice.rows());
  }
  return check.result();
}

}  // namespace crinn::eval
