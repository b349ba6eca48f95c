// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/streamed_truth.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <limits>

#include "crinn/base/error.h"
#include "crinn/base/progress.h"
#include "crinn/eval/distances.h"
#include "crinn/gpu/knn.h"
#include "sources.h"
#include "truth_sources.h"

namespace crinn::eval {
namespace {

constexpr int64_t kBaseBytes = int64_t{4} << 30;  // of a base in memory without a limit
constexpr int64_t kLeastRows = 256;               // of a slice: each ranks k rows of every query

}  // namespace

bool StreamedTruth::serves(std::string_view name) { return !is_made(name); }

StreamedTruth::StreamedTruth(std::string_view name, std::string_view metric_override,
                             int64_t query_limit)
    : data_(std::make_unique<OpenDataset>(open_dataset(name))) {
  RawDataset& rest = data_->rest;
  require_same_dimension(name, data_->base.cols, rest.queries.cols());
  name_ = data_->name;
  metric_ = settle_metric(rest, name, name_, metric_override);
  if (query_limit > 0 && query_limit < rest.queries.rows()) {
    truncate_rows(rest.queries, query_limit);
    if (rest.truth_k > 0)
      rest.truth_ids.resize(static_cast<std::size_t>(query_limit * rest.truth_k));
  }
  slice_rows_ = data_->base.rows;
}

StreamedTruth::~StreamedTruth() = default;

int64_t StreamedTruth::base_rows() const { return data_->base.rows; }

int64_t StreamedTruth::base_bytes() const {
  return base_rows() * data_->base.cols * int64_t{sizeof(float)};
}

void StreamedTruth::set_slice_rows(int64_t rows) {
  slice_rows_ = std::clamp<int64_t>(rows, 1, base_rows());
}

int64_t StreamedTruth::slices() const { return (base_rows() + slice_rows_ - 1) / slice_rows_; }

int64_t StreamedTruth::bytes_beside_work(int64_t slice_rows, int k) const {
  const Matrix& queries = data_->rest.queries;
  // What was found before, what is found now, and both merged.
  constexpr int64_t kLists = 3, kNeighbor = sizeof(int64_t) + sizeof(double);
  return (2 * slice_rows + queries.rows()) * queries.cols() * int64_t{sizeof(float)} +
         kLists * queries.rows() * k * kNeighbor;
}

int64_t StreamedTruth::plan(TruthSource source, int k, int threads,
                            const TruthResources& resources) {
  source = resolve_source(source, data_->rest.truth_k, k, name_);
  const bool limited = source == TruthSource::kCpu && resources.memory_bytes > 0;
  const int64_t memory = resources.memory_bytes, d = data_->base.cols;
  set_slice_rows(base_rows());
  if (base_bytes() <= (limited ? memory / 2 : kBaseBytes)) return 1;
  const int64_t row_bytes = d * int64_t{sizeof(float)};
  set_slice_rows(kBaseBytes / 2 / row_bytes);
  if (!limited) return slices();
  const auto need = [&](int64_t rows) {
    return bytes_beside_work(rows, k) +
           exact_knn_least(rows, d, data_->rest.queries.rows(), k, std::max(threads, 1));
  };
  const int64_t least_rows = std::min(kLeastRows, base_rows());
  if (memory < need(least_rows)) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("exact_knn: {} bytes of memory are too little: the least here is {} "
                            "MiB, slices of the base included",
                            memory, (need(least_rows) >> 20) + 1));
  }
  // The search packs a copy of its rows: as many as there is room for, at best the whole slice.
  const int64_t each = need(1) - need(0) + row_bytes;
  set_slice_rows(
      std::clamp((memory - need(0)) / each, least_rows, std::max(least_rows, slice_rows_)));
  return slices();
}

std::pair<GroundTruth, TruthOrigin> StreamedTruth::find(TruthSource source, int k, int threads,
                                                        const std::filesystem::path& cache_folder,
                                                        const TruthResources& resources) const {
  const int64_t queries = data_->rest.queries.rows();
  source = resolve_source(source, data_->rest.truth_k, k, name_);
  if (source == TruthSource::kFile) return {read_stored(k, threads), {source, false}};
  const bool caches = !cache_folder.empty();
  std::string hash;
  if (caches && !resources.recompute && caches_truth_of(cache_folder, queries, k)) {
    hash = content_hash();
    auto known = read_cached_truth(cache_folder, hash, queries, k);
    if (known) return {*std::move(known), TruthOrigin{source, true}};
  }
  ContentHash running = start_hash();
  GroundTruth truth =
      search(source, k, threads, resources, caches && hash.empty() ? &running : nullptr);
  if (caches) cache_truth(cache_folder, hash.empty() ? running.hex() : hash, truth);
  return {std::move(truth), TruthOrigin{source, false}};
}

GroundTruth StreamedTruth::search(TruthSource source, int k, int threads,
                                  const TruthResources& resources, ContentHash* hash) const {
  const MatrixView<const float> queries = std::as_const(data_->rest.queries).view();
  int64_t work_bytes = resources.memory_bytes;
  if (work_bytes > 0 && slices() > 1) {
    work_bytes = std::max<int64_t>(1, work_bytes - bytes_beside_work(slice_rows_, k));
  }
  gpu::Neighbors nearest = gpu::merge_neighbors({}, queries.rows, k);
  Progress progress("exact k-NN, slice by slice", base_rows());
  for_each_slice(data_->base, slice_rows_, [&](const Matrix& slice, int64_t first) {
    std::future<void> hashed;
    if (hash) hashed = std::async(std::launch::async, [&] { hash->add(slice); });
    gpu::Neighbors part =
        slice_neighbors(source, queries, slice, first, metric_, k, threads, resources, work_bytes);
    if (first == 0 && !part.plan.empty()) spdlog::info("ground truth: {}", part.plan);
    std::vector<gpu::Neighbors> parts;
    parts.push_back(std::move(nearest));
    parts.push_back(std::move(part));
    nearest = gpu::merge_neighbors(parts, queries.rows, k);
    if (hash) hashed.get();
    progress.update(first + slice.rows());
  });
  return {queries.rows, k, std::move(nearest.ids), std::move(nearest.distances)};
}

GroundTruth StreamedTruth::read_stored(int k, int threads) const {
  const RawDataset& rest = data_->rest;
  std::vector<double> distances(rest.truth_ids.size(), std::numeric_limits<double>::infinity());
  Progress progress("distances of the stored neighbours", base_rows());
  for_each_slice(data_->base, slice_rows_, [&](const Matrix& slice, int64_t first) {
    std::vector<int64_t> ids(rest.truth_ids.size(), -1);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const int64_t id = rest.truth_ids[i] - first;
      if (id >= 0 && id < slice.rows()) ids[i] = id;
    }
    const std::vector<double> part =
        exact_distances(rest.queries.view(), slice.view(), metric_, ids, rest.truth_k, threads);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0) distances[i] = part[i];
    }
    progress.update(first + slice.rows());
  });
  return truncate_columns(order_truth(rest, std::move(distances), base_rows()), k);
}

Verification StreamedTruth::verify(const GroundTruth& truth, int64_t count, uint64_t seed,
                                   int threads) const {
  TruthCheck check(truth, std::as_const(data_->rest.queries).view(), metric_, count, seed);
  Progress progress("verifying", base_rows());
  for_each_slice(data_->base, slice_rows_, [&](const Matrix& slice, int64_t first) {
    check.add(slice.view(), first, threads);
    progress.update(first + slice.rows());
  });
  return check.result();
}

ContentHash StreamedTruth::start_hash() const {
  return {metric_, base_rows(), data_->base.cols, data_->rest.queries};
}

std::string StreamedTruth::content_hash() const {
  ContentHash hash = start_hash();
  Progress progress("hashing", base_rows());
  for_each_slice(data_->base, slice_rows_, [&](const Matrix& slice, int64_t first) {
    hash.add(slice);
    progress.update(first + slice.rows());
  });
  return hash.hex();
}

}  // namespace crinn::eval
