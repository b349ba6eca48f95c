// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "crinn/ann/knn_frame.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "reference_steps.h"

namespace crinn::gpu {

/// Rows of lowest bound that a query looks at first.
inline int64_t selected_at_first(int64_t k) {
  constexpr int64_t kMargin = 16;
  int64_t selected = 1;
  while (selected < k + kMargin) selected *= 2;
  return selected;
}

/// Exact k-NN by selection of lower bounds. All products of a tile of queries and a tile of rows
/// are written and bounded (fp32, knn_certificate.h); of each query the m rows of lowest bound are
/// selected, tile by tile. With T from the k-th smallest upper bound among them, every row that
/// could be a neighbour has a lower bound of at most T. A row that was not selected has one of at
/// least the largest that was: where that is above T, nothing is missing, however ties fell. Else
/// the query looks again at twice as many rows, in the end at all. What was selected is ranked by
/// exact_distance. Nothing here is tuned.
///
/// Device is CUDA (reference_knn.cu), or loops of the host in tests; it offers
///   Array<T>(size) with get(), upload(first, source, count), download(target, first, count);
///   copy_matrix(target, source view);
///   products(q, queries, x, rows, d, out): fp32 [queries, rows], summed in any order;
///   select_smallest(values, rows, n, k, out_values, out_ids): as RaftSelect;
///   for_each(queries, places, body): body(q, at) for all q < queries and at < places.
template <class Device>
class ReferenceSearch {
  template <class T>
  using Array = typename Device::template Array<T>;

 public:
  /// At least one query and one row; k >= 1. `memory` in bytes. Throws Error (usage) that names a
  /// row with NaN or Inf.
  ReferenceSearch(Device& device, MatrixView<const float> queries, MatrixView<const float> base,
                  ann::Metric metric, int k, int64_t memory, int threads)
      : device_(device),
        queries_(queries),
        base_(base),
        k_(std::min<int64_t>(k, base.rows)),
        wanted_(k),
        d_(base.cols),
        memory_(memory),
        threads_(threads) {
    // Of all rows, so that the encoder holds each.
    const ann::KnnFrame frame =
        ann::find_knn_frame({base}, {queries}, metric, ann::KnnFormat::kFp32, threads);
    mean_ = Array<double>(d_);
    mean_.upload(0, frame.mean.data(), d_);
    // Any order of summation: a product passes d additions at most.
    encoder_ = ann::fp32_encoder(metric, d_, d_ + 2, frame);
    encoder_.mean = mean_.get();
    chunk_rows_ = std::clamp<int64_t>(memory / 4 * 3 / bytes_per_row(), 1, base.rows);
    tile_rows_ = std::min(chunk_rows_, kTileRows);
  }

  /// Throws Error (usage) where the memory is too little.
  Neighbors run() {
    Neighbors result;
    const auto places = static_cast<std::size_t>(queries_.rows * wanted_);
    result.ids.assign(places, -1);
    result.distances.assign(places, std::numeric_limits<double>::infinity());
    std::vector<int64_t> waiting(static_cast<std::size_t>(queries_.rows));
    std::iota(waiting.begin(), waiting.end(), 0);
    const int64_t first = std::min(selected_at_first(k_), base_.rows);
    for (int64_t selected = first; !waiting.empty();
         selected = std::min(2 * selected, base_.rows)) {
      result.plan = selected == first ? std::to_string(first) + " rows selected"
                                      : result.plan + ", " + std::to_string(selected) + " for " +
                                            std::to_string(waiting.size()) + " queries";
      waiting = search(waiting, selected, result);
    }
    return result;
  }

 private:
  static constexpr int64_t kTileRows = 32768;
  static constexpr int64_t kMostQueries = 8192;

  /// [queries, count] each.
  struct RowLists {
    Array<float> lower, upper;
    Array<int32_t> ids;
    RowLists() = default;
    explicit RowLists(int64_t places) : lower(places), upper(places), ids(places) {}
    SelectedRows view(int64_t count) const { return {lower.get(), upper.get(), ids.get(), count}; }
    static constexpr int64_t kBytes = 2 * sizeof(float) + sizeof(int32_t);  // a place
  };

  /// What depends on the queries of a group and on how many rows each selects.
  struct GroupArrays {
    Array<float> raw, encoded;  // [queries, d]
    Array<ann::KnnQuery> terms;
    Array<float> products, lower;  // [queries, tile_rows]
    RowLists kept, appended;
    Array<float> picked_lower;  // [queries, selected]
    Array<int32_t> picked;
    Array<float> thresholds;
    Array<double> distances;  // [queries, selected]
    GroupArrays() = default;
    GroupArrays(int64_t queries, int64_t d, int64_t tile_rows, int64_t selected)
        : raw(queries * d),
          encoded(queries * d),
          terms(queries),
          products(queries * tile_rows),
          lower(queries * tile_rows),
          kept(queries * most_appended(selected, tile_rows)),
          appended(queries * most_appended(selected, tile_rows)),
          picked_lower(queries * selected),
          picked(queries * selected),
          thresholds(queries),
          distances(queries * selected) {}
    static int64_t bytes(int64_t d, int64_t tile_rows, int64_t selected) {  // a query
      return 2 * d * int64_t{sizeof(float)} + int64_t{sizeof(ann::KnnQuery)} +
             2 * tile_rows * int64_t{sizeof(float)} +
             2 * most_appended(selected, tile_rows) * RowLists::kBytes +
             selected * int64_t{sizeof(float) + sizeof(int32_t) + sizeof(double)} +
             int64_t{sizeof(float)};
    }
    static int64_t most_appended(int64_t selected, int64_t tile_rows) {
      return selected + std::min(selected, tile_rows);
    }
  };

  int64_t bytes_per_row() const {
    return 2 * d_ * int64_t{sizeof(float)} + int64_t{sizeof(ann::KnnRow)};
  }

  /// Searches for the queries by the rows of lowest bound; returns those that need more of them.
  std::vector<int64_t> search(const std::vector<int64_t>& waiting, int64_t selected,
                              Neighbors& result) {
    const auto all = static_cast<int64_t>(waiting.size());
    const int64_t room = memory_ - chunk_rows_ * bytes_per_row();
    const int64_t each = GroupArrays::bytes(d_, tile_rows_, selected);
    const int64_t group = std::min({room / each, all, kMostQueries});
    if (group < 1) {
      const int64_t least = chunk_rows_ * bytes_per_row() + each;
      throw Error(ErrorCategory::kUsage,
                  "gpu::reference_knn: " + std::to_string(memory_ >> 20) +
                      " MiB of device memory are too little to select " + std::to_string(selected) +
                      " rows: the least is about " + std::to_string((least >> 20) + 1) + " MiB");
    }
    of_ = GroupArrays();  // free before the next
    of_ = GroupArrays(group, d_, tile_rows_, selected);
    std::vector<int64_t> incomplete;
    for (int64_t at = 0; at < all; at += group) {
      const auto count = static_cast<std::size_t>(std::min(group, all - at));
      search_group(std::span(waiting).subspan(static_cast<std::size_t>(at), count), selected,
                   result, incomplete);
    }
    return incomplete;
  }

  void search_group(std::span<const int64_t> group, int64_t selected, Neighbors& result,
                    std::vector<int64_t>& incomplete) {
    const auto queries = static_cast<int64_t>(group.size());
    load_queries(group);
    int64_t kept = 0;
    for (int64_t first = 0; first < base_.rows; first += chunk_rows_) {
      const int64_t rows = load_chunk(first);
      for (int64_t at = 0; at < rows; at += tile_rows_) {
        kept = scan_tile(queries, first + at, at, std::min(tile_rows_, rows - at), selected, kept);
      }
    }
    const std::vector<float> thresholds = find_thresholds(queries, kept);
    const std::vector<double> distances = rank(queries, kept, thresholds);
    const std::vector<int32_t> ids = downloaded(of_.kept.ids, queries * kept);
    std::vector<std::pair<double, int64_t>> row(static_cast<std::size_t>(kept));
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t q = group[static_cast<std::size_t>(i)];
      if (thresholds[static_cast<std::size_t>(i)] == kIncomplete) {
        incomplete.push_back(q);
        continue;
      }
      for (int64_t j = 0; j < kept; ++j) {
        const auto at = static_cast<std::size_t>(i * kept + j);
        row[static_cast<std::size_t>(j)] = {distances[at], ids[at]};
      }
      std::partial_sort(row.begin(), row.begin() + k_, row.end());
      if (!std::isfinite(row[static_cast<std::size_t>(k_ - 1)].first)) {
        throw Error(ErrorCategory::kDevice, "gpu::reference_knn: query " + std::to_string(q) +
                                                " has fewer than " + std::to_string(k_) +
                                                " neighbours: a step went wrong");
      }
      for (int64_t j = 0; j < k_; ++j) {
        const auto to = static_cast<std::size_t>(q * wanted_ + j);
        std::tie(result.distances[to], result.ids[to]) = row[static_cast<std::size_t>(j)];
      }
    }
  }

  /// Bounds a tile of the loaded rows, which begin at `first_id`, and selects among them and the
  /// `kept` rows of the tiles before. Returns how many are kept now.
  int64_t scan_tile(int64_t queries, int64_t first_id, int64_t at, int64_t rows, int64_t selected,
                    int64_t kept) {
    const BoundTile tile{of_.terms.get(), base_terms_.get() + at, of_.products.get(), rows,
                         static_cast<int32_t>(first_id)};
    device_.products(of_.encoded.get(), queries, encoded_base_.get() + at * d_, rows, d_,
                     of_.products.get());
    device_.for_each(queries, rows, BoundRows{tile, of_.lower.get()});
    const int64_t picked = std::min(selected, rows);
    device_.select_smallest(of_.lower.get(), queries, rows, picked, of_.picked_lower.get(),
                            of_.picked.get());
    const int64_t appended = kept + picked, left = std::min(selected, appended);
    device_.for_each(queries, appended,
                     AppendRows{of_.kept.view(kept), of_.appended.view(appended), tile,
                                of_.picked_lower.get(), of_.picked.get(), picked});
    if (left == appended) {
      std::swap(of_.kept, of_.appended);
      return left;
    }
    device_.select_smallest(of_.appended.lower.get(), queries, appended, left,
                            of_.picked_lower.get(), of_.picked.get());
    device_.for_each(queries, left,
                     TakeRows{of_.appended.view(appended), of_.kept.view(left), of_.picked.get()});
    return left;
  }

  /// What a row's lower bound may be at most, [queries]; kIncomplete where rows may be missing. All
  /// rows need no bound.
  std::vector<float> find_thresholds(int64_t queries, int64_t kept) const {
    const auto count = static_cast<std::size_t>(queries);
    if (kept == base_.rows)
      return std::vector<float>(count, std::numeric_limits<float>::infinity());
    const std::vector<float> lower = downloaded(of_.kept.lower, queries * kept);
    std::vector<float> upper = downloaded(of_.kept.upper, queries * kept);
    const std::vector<ann::KnnQuery> terms = downloaded(of_.terms, queries);
    std::vector<float> thresholds(count, kIncomplete);
    parallel_for(threads_, queries, 16, [&](int64_t begin, int64_t end) {
      for (int64_t q = begin; q < end; ++q) {
        const auto kth = upper.begin() + q * kept + k_ - 1;
        std::nth_element(upper.begin() + q * kept, kth, upper.begin() + (q + 1) * kept);
        const auto at = static_cast<std::size_t>(q);
        const float threshold = ann::knn_threshold(*kth, terms[at]);
        const float largest =
            *std::max_element(lower.begin() + q * kept, lower.begin() + (q + 1) * kept);
        if (largest > threshold) thresholds[at] = threshold;
      }
    });
    return thresholds;
  }

  /// Exact distances [queries, kept]; +inf beyond the threshold.
  std::vector<double> rank(int64_t queries, int64_t kept, const std::vector<float>& thresholds) {
    of_.thresholds.upload(0, thresholds.data(), queries);
    for (int64_t first = 0; first < base_.rows; first += chunk_rows_) {
      const int64_t rows = load_chunk(first);
      device_.for_each(
          queries, kept,
          RankRows{of_.kept.view(kept), of_.thresholds.get(), of_.raw.get(), raw_base_.get(),
                   static_cast<int32_t>(first), static_cast<int32_t>(rows), d_, encoder_.metric(),
                   of_.distances.get()});
    }
    return downloaded(of_.distances, queries * kept);
  }

  void load_queries(std::span<const int64_t> group) {
    const auto count = static_cast<int64_t>(group.size());
    std::vector<float> rows(static_cast<std::size_t>(count * d_));
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(queries_.row(group[static_cast<std::size_t>(i)]), d_, rows.data() + i * d_);
    }
    of_.raw.upload(0, rows.data(), count * d_);
    device_.for_each(1, count,
                     EncodeQueries{encoder_, of_.raw.get(), of_.encoded.get(), of_.terms.get()});
  }

  /// Rows of the chunk that begins at `first`; a base of one chunk is loaded once.
  int64_t load_chunk(int64_t first) {
    const int64_t rows = std::min(chunk_rows_, base_.rows - first);
    if (loaded_ == first) return rows;
    if (loaded_ < 0) {
      raw_base_ = Array<float>(chunk_rows_ * d_);
      encoded_base_ = Array<float>(chunk_rows_ * d_);
      base_terms_ = Array<ann::KnnRow>(chunk_rows_);
    }
    device_.copy_matrix(raw_base_, base_.slice(first, rows));
    device_.for_each(1, rows,
                     EncodeBase{encoder_, raw_base_.get(), encoded_base_.get(), base_terms_.get()});
    loaded_ = first;
    return rows;
  }

  template <class T>
  static std::vector<T> downloaded(const Array<T>& array, int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    array.download(values.data(), 0, count);
    return values;
  }

  static constexpr float kIncomplete = -std::numeric_limits<float>::infinity();

  Device& device_;
  MatrixView<const float> queries_, base_;
  int64_t k_, wanted_, d_, memory_;
  int threads_;
  int64_t chunk_rows_ = 0, tile_rows_ = 0;
  int64_t loaded_ = -1;  // first row of the chunk in memory
  ann::KnnEncoder encoder_;
  Array<double> mean_;
  Array<float> raw_base_, encoded_base_;  // [chunk_rows, d]
  Array<ann::KnnRow> base_terms_;
  GroupArrays of_;
};

}  // namespace crinn::gpu
