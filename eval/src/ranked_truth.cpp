// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/ranked_truth.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "crinn/base/progress.h"
#include "crinn/gpu/ranked_knn.h"
#include "sources.h"
#include "truth_sources.h"

namespace crinn::eval {
namespace {

constexpr int64_t kSliceBytes = int64_t{2} << 30;  // as fp32; two slices are in memory at a time

/// A data set whose base is in memory, in the form of one whose base is in a file.
OpenDataset make_dataset(std::string_view name, std::string_view metric_override) {
  Dataset made = load_dataset(name, metric_override);
  OpenDataset open;
  open.name = std::move(made.name);
  open.rest.metric = made.metric;
  open.rest.queries = std::move(made.queries);
  const auto base = std::make_shared<const Matrix>(std::move(made.base));
  open.base = {base->rows(), base->cols(), [base](int64_t first, int64_t count) {
                 Matrix rows(count, base->cols());
                 std::copy_n(base->row(first), count * base->cols(), rows.row(0));
                 return rows;
               }};
  return open;
}

}  // namespace

RankedTruth::RankedTruth(gpu::Comm& comm, std::string_view name, std::string_view metric_override,
                         int64_t query_limit)
    : comm_(comm),
      data_(std::make_unique<OpenDataset>(is_made(name) ? make_dataset(name, metric_override)
                                                        : open_dataset(name))) {
  RawDataset& rest = data_->rest;
  require_same_dimension(name, data_->base.cols, rest.queries.cols());
  rest.truth_k = 0;  // stored neighbours are not used, whatever they are by
  metric_ = settle_metric(rest, name, data_->name, metric_override);
  if (query_limit > 0 && query_limit < rest.queries.rows()) {
    truncate_rows(rest.queries, query_limit);
  }
}

RankedTruth::~RankedTruth() = default;

const std::string& RankedTruth::name() const { return data_->name; }

int64_t RankedTruth::base_rows() const { return data_->base.rows; }

GroundTruth RankedTruth::find(TruthSource source, int k, int threads,
                              const TruthResources& resources) const {
  const RowSource& base = data_->base;
  const MatrixView<const float> queries = std::as_const(data_->rest.queries).view();
  const int64_t first = base.rows * comm_.rank() / comm_.size();
  const int64_t count = base.rows * (comm_.rank() + 1) / comm_.size() - first;
  const RowSource share{count, base.cols,
                        [&](int64_t at, int64_t rows) { return base.read(first + at, rows); }};
  int64_t slice_bytes = kSliceBytes, work_bytes = resources.memory_bytes;
  if (source != TruthSource::kGpu && work_bytes > 0) {
    work_bytes = std::max<int64_t>(1, work_bytes / 2);
    slice_bytes = std::min(slice_bytes, work_bytes / 2);
  }
  const int64_t slice_rows =
      std::max<int64_t>(1, slice_bytes / (base.cols * int64_t{sizeof(float)}));

  const auto search_share = [&] {
    gpu::Neighbors nearest = gpu::merge_neighbors({}, queries.rows, k);
    Progress progress(fmt::format("exact k-NN, rank {} of {}", comm_.rank(), comm_.size()), count);
    for_each_slice(share, slice_rows, [&](const Matrix& slice, int64_t at) {
      gpu::Neighbors part =
          slice_neighbors(source, queries, slice, at, metric_, k, threads, resources, work_bytes);
      std::string plan = at == 0 ? part.plan : nearest.plan;
      nearest = gpu::merge_neighbors({std::move(nearest), std::move(part)}, queries.rows, k);
      nearest.plan = std::move(plan);
      progress.update(at + slice.rows());
    });
    return nearest;
  };
  gpu::Neighbors found =
      gpu::ranked_knn(comm_, {queries.rows, base.cols, k, metric_, first, count}, search_share);
  if (comm_.rank() == 0 && !found.plan.empty()) spdlog::info("ground truth: {}", found.plan);
  return {queries.rows, k, std::move(found.ids), std::move(found.distances)};
}

}  // namespace crinn::eval
