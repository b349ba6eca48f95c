// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/base/progress.h"
#include "pass_rows.h"
#include "query_steps.h"

namespace crinn::gpu {

/// Exact k-NN of one shard on one device: chunks of the base that fit its memory, tiles of queries,
/// pieces of a chunk that grow. Device is CUDA (knn.cu), or memory and loops of the host
/// (host_device.h); it offers
///   Array<T>(size) with get(), upload(first, source, count), download(target, first, count);
///   most_rows(path): rows of one pass;
///   copy_matrix(target, source view): raw rows to an array;
///   copy_places(to, to_pitch, from, from_pitch, bytes, count): within its memory;
///   scan(tile, piece, last): a pass over the piece and its collection;
///   take(tile, exact rows, held): take_exactly() for all queries of the tile.
template <class Device>
class KnnSearch {
  template <class T>
  using Array = typename Device::template Array<T>;

 public:
  /// Borrows all. `memory` in bytes, as plan_memory() takes it.
  KnnSearch(Device& device, const PassRows& rows, MatrixView<const float> queries,
            MatrixView<const float> base, ann::Metric metric, int k, int64_t memory)
      : device_(device),
        pass_(rows),
        base_(base),
        queries_(queries),
        metric_(metric),
        k_(std::min<int64_t>(k, base.rows)),
        wanted_(k),
        d_(base.cols),
        row_bytes_(rows.row_bytes()),
        capacity_(selection_capacity(k_)) {
    const int64_t products =
        rows.path() == KnnPath::kFp32 ? std::min(device.most_rows(rows.path()), base.rows) : 0;
    memory_ = plan_memory(memory, {queries.rows, base.rows, d_, k_, row_bytes_, products});
    kept_ = Array<Waiting>(queries.rows * k_);
    states_ = Array<QueryState>(queries.rows);
    const std::vector<QueryState> fresh(static_cast<std::size_t>(queries.rows),
                                        {std::numeric_limits<float>::infinity(), 0, 0});
    states_.upload(0, fresh.data(), queries.rows);
    const int64_t tile = memory_.tile_queries;
    raw_queries_ = Array<float>(tile * d_);
    encoded_queries_ = Array<uint8_t>(tile * row_bytes_);
    query_terms_ = Array<ann::KnnQuery>(tile);
    rows_ = Array<Waiting>(tile * capacity_);
    spare_ = Array<Waiting>(tile * capacity_);
  }

  /// `progress`: whether to report on stderr; `threads` encode rows.
  Neighbors run(bool progress, int threads = available_cores()) {
    threads_ = threads;
    const int64_t chunk = memory_.chunk_rows;
    raw_base_ = Array<float>(chunk * d_);
    encoded_base_ = Array<uint8_t>(chunk * row_bytes_);
    base_terms_ = Array<ann::KnnRow>(chunk);
    std::optional<Progress> shown;
    if (progress) shown.emplace("exact k-NN on the GPU", base_.rows * queries_.rows);
    int64_t done = 0;
    for (int64_t first = 0; first < base_.rows; first += chunk) {
      const int64_t count = std::min(chunk, base_.rows - first);
      upload_base(first, count);
      for_each_tile(first > 0, [&](const KnnTile& tile) {
        scan_chunk(tile, first, count);
        if (shown) shown->update(done += tile.count * count);
      });
    }
    take_left_out();
    return collect();
  }

 private:
  static constexpr int64_t kStagingBytes = int64_t{256} << 20;

  void upload_base(int64_t first, int64_t count) {
    device_.copy_matrix(raw_base_, base_.slice(first, count));
    const int64_t step = std::min(count, std::max<int64_t>(1, kStagingBytes / row_bytes_));
    std::vector<uint8_t> encoded(static_cast<std::size_t>(step * row_bytes_));
    std::vector<ann::KnnRow> terms(static_cast<std::size_t>(step));
    for (int64_t at = 0; at < count; at += step) {
      const int64_t rows = std::min(step, count - at);
      parallel_for(threads_, rows, 256, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          terms[static_cast<std::size_t>(i)] =
              pass_.base_row(first + at + i, encoded.data() + i * row_bytes_);
        }
      });
      for (int64_t i = 0; i < rows; ++i) {
        if (std::isnan(terms[static_cast<std::size_t>(i)].low)) {
          left_out_.push_back(static_cast<int32_t>(first + at + i));
        }
      }
      encoded_base_.upload(at * row_bytes_, encoded.data(), rows * row_bytes_);
      base_terms_.upload(at, terms.data(), rows);
    }
  }

  void upload_queries(int64_t first, int64_t count) {
    device_.copy_matrix(raw_queries_, queries_.slice(first, count));
    std::vector<uint8_t> encoded(static_cast<std::size_t>(count * row_bytes_));
    std::vector<ann::KnnQuery> terms(static_cast<std::size_t>(count));
    parallel_for(threads_, count, 64, [&](int64_t begin, int64_t end) {
      for (int64_t q = begin; q < end; ++q) {
        terms[static_cast<std::size_t>(q)] =
            pass_.query_row(first + q, encoded.data() + q * row_bytes_);
      }
    });
    all_held_ = std::none_of(terms.begin(), terms.end(),
                             [](const ann::KnnQuery& query) { return std::isnan(query.slope); });
    encoded_queries_.upload(0, encoded.data(), count * row_bytes_);
    query_terms_.upload(0, terms.data(), count);
  }

  /// Calls work(tile) for all queries, their neighbours so far in the buffers before and what is in
  /// the buffers kept after it.
  template <class Work>
  void for_each_tile(bool continued, const Work& work) {
    const auto narrow = static_cast<std::size_t>(k_) * sizeof(Waiting);
    const auto wide = static_cast<std::size_t>(capacity_) * sizeof(Waiting);
    for (int64_t q = 0; q < queries_.rows; q += memory_.tile_queries) {
      const int64_t count = std::min(memory_.tile_queries, queries_.rows - q);
      upload_queries(q, count);
      Waiting* const kept = kept_.get() + q * k_;
      if (continued) device_.copy_places(rows_.get(), wide, kept, narrow, narrow, count);
      work(KnnTile{raw_queries_.get(), encoded_queries_.get(), query_terms_.get(),
                   states_.get() + q, rows_.get(), spare_.get(), count,
                   static_cast<int32_t>(capacity_), static_cast<int32_t>(k_)});
      device_.copy_places(kept, narrow, rows_.get(), wide, narrow, count);
    }
  }

  void scan_chunk(const KnnTile& tile, int64_t first, int64_t count) {
    const int64_t most = device_.most_rows(pass_.path());
    // Without a threshold all rows of a piece wait. It must fit the buffer, and the pieces that
    // follow double: each then adds about as many neighbours as are known.
    int64_t rows = first == 0 ? std::min(most, capacity_ / 2) : most;
    for (int64_t at = 0; at < count; at += rows, rows = std::min(2 * rows, most)) {
      rows = std::min(rows, count - at);
      const KnnPiece piece{raw_base_.get(),
                           encoded_base_.get() + at * row_bytes_,
                           base_terms_.get() + at,
                           first,
                           first + at,
                           rows,
                           d_,
                           row_bytes_,
                           metric_,
                           pass_.path()};
      device_.scan(tile, piece, at + rows == count);
    }
    if (!all_held_) {
      device_.take(tile, ExactRows{raw_base_.get(), nullptr, first, count, d_, metric_}, false);
    }
  }

  /// The rows that no pass held, for the queries that the passes held.
  void take_left_out() {
    if (left_out_.empty()) return;
    const auto count = static_cast<int64_t>(left_out_.size());
    std::vector<float> raw(static_cast<std::size_t>(count * d_));
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(base_.row(left_out_[static_cast<std::size_t>(i)]), d_, raw.data() + i * d_);
    }
    base_terms_ = Array<ann::KnnRow>();
    encoded_base_ = Array<uint8_t>();
    raw_base_ = Array<float>();  // free before the next
    raw_base_ = Array<float>(count * d_);
    Array<int32_t> ids(count);
    raw_base_.upload(0, raw.data(), count * d_);
    ids.upload(0, left_out_.data(), count);
    for_each_tile(true, [&](const KnnTile& tile) {
      device_.take(tile, ExactRows{raw_base_.get(), ids.get(), 0, count, d_, metric_}, true);
    });
  }

  Neighbors collect() const {
    std::vector<QueryState> states(static_cast<std::size_t>(queries_.rows));
    states_.download(states.data(), 0, queries_.rows);
    for (const QueryState& state : states) {
      if (state.count != k_) {
        throw Error(ErrorCategory::kDevice, "gpu::exact_knn: a query has " +
                                                std::to_string(state.count) + " neighbours, not " +
                                                std::to_string(k_) + ": a pass went wrong");
      }
    }
    std::vector<Waiting> kept(static_cast<std::size_t>(queries_.rows * k_));
    kept_.download(kept.data(), 0, queries_.rows * k_);
    Neighbors result;
    const auto places = static_cast<std::size_t>(queries_.rows * wanted_);
    result.ids.assign(places, -1);
    result.distances.assign(places, std::numeric_limits<double>::infinity());
    for (int64_t q = 0; q < queries_.rows; ++q) {
      for (int64_t j = 0; j < k_; ++j) {
        const Waiting& row = kept[static_cast<std::size_t>(q * k_ + j)];
        result.ids[static_cast<std::size_t>(q * wanted_ + j)] = row.id;
        result.distances[static_cast<std::size_t>(q * wanted_ + j)] = row.distance;
      }
    }
    return result;
  }

  Device& device_;
  const PassRows& pass_;
  MatrixView<const float> base_, queries_;
  ann::Metric metric_;
  int64_t k_, wanted_, d_, row_bytes_, capacity_;
  KnnMemory memory_;
  int threads_ = 1;
  bool all_held_ = true;           // by the pass, of the tile's queries
  std::vector<int32_t> left_out_;  // base rows that the pass does not hold
  Array<Waiting> kept_;            // [nq, k]: exact neighbours so far
  Array<QueryState> states_;       // [nq]
  Array<float> raw_queries_, raw_base_;
  Array<uint8_t> encoded_queries_, encoded_base_;
  Array<ann::KnnQuery> query_terms_;
  Array<ann::KnnRow> base_terms_;
  Array<Waiting> rows_, spare_;
};

}  // namespace crinn::gpu
