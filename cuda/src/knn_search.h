// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <future>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/progress.h"
#include "encode_steps.h"
#include "knn_plan.h"
#include "query_steps.h"

namespace crinn::gpu {

/// What encoding told of rows [first, first + count) of a matrix.
struct EncodedRows {
  int64_t bad_row = -1;           ///< the first that holds NaN or Inf
  std::vector<int32_t> left_out;  ///< those that the pass does not hold, ascending, from 0
};

/// A sample of a matrix in any memory, as fp32 in the host's.
template <class Loader>
class SampledRows {
 public:
  SampledRows(Loader& loader, const KnnMatrix& source)
      : step_(plan_step(source.rows, source.cols)) {
    const KnnMatrix some = source.every(step_);
    if (some.type == ElementType::kFp32 && !some.on_device) {
      view_ = {static_cast<const float*>(some.data), some.rows, some.cols, some.stride};
      return;
    }
    values_.resize(static_cast<std::size_t>(some.rows * some.cols));
    loader.to_host(some, values_.data());
    view_ = {values_.data(), some.rows, some.cols};
  }
  SampledRows(const SampledRows&) = delete;
  SampledRows& operator=(const SampledRows&) = delete;
  ann::KnnSample sample() const { return {view_, step_}; }

 private:
  int64_t step_;
  std::vector<float> values_;
  MatrixView<const float> view_;
};

/// Exact k-NN of one shard on one device: chunks of the base that fit its memory, tiles of queries,
/// pieces of a chunk that grow. The next chunk is loaded and encoded by another thread while one is
/// searched. Device is CUDA (cuda_device.h), or memory and loops of the host (host_device.h); it
/// offers
///   Array<T>(size) with get(), upload(first, source, count), download(target, first, count);
///   Loader(device), for one thread at a time, whose members return when all is done:
///     load(source, target): rows of any type and memory to fp32 rows in the device's;
///     to_host(source, target): likewise to the host's;
///     encode_base(encoder, raw, rows, out, terms, list): EncodedRows; `list` is scratch [rows];
///     encode_queries(encoder, raw, rows, out, terms): EncodedRows;
///     gather(raw, d, ids, target): the rows that ids name, to host memory;
///   most_rows(path): rows of one pass;
///   copy_places(to, to_pitch, from, from_pitch, bytes, count): within its memory;
///   scan(tile, piece, last): a pass over the piece and its collection, done with the last;
///   take(tile, exact rows, held): take_exactly() for all queries of the tile.
template <class Device>
class KnnSearch {
  template <class T>
  using Array = typename Device::template Array<T>;

 public:
  /// Borrows all. `memory` in bytes, as plan_memory() takes it. `give_up`: whether run() throws
  /// PlanMissed where the pass does not hold many of the rows.
  KnnSearch(Device& device, const KnnPlan& plan, const KnnMatrix& queries, const KnnMatrix& base,
            int k, int64_t memory, bool give_up = false)
      : device_(device),
        plan_(plan),
        encoder_(plan.encoder),
        base_(base),
        queries_(queries),
        k_(std::min<int64_t>(k, base.rows)),
        wanted_(k),
        d_(base.cols),
        row_bytes_(plan.encoder.row_bytes),
        capacity_(selection_capacity(k_)),
        give_up_(give_up),
        base_loader_(device),
        query_loader_(device) {
    if (capacity_ > int64_t{1} << 30) {
      throw Error(ErrorCategory::kUsage,
                  "gpu::exact_knn: k = " + std::to_string(k) + " is too large");
    }
    const int64_t products =
        plan.path == KnnPath::kFp32 ? std::min(device.most_rows(plan.path), base.rows) : 0;
    memory_ = plan_memory(memory, {queries.rows, base.rows, d_, k_, row_bytes_, products,
                                   staging_bytes(base) + staging_bytes(queries)});
    kept_ = Array<Waiting>(queries.rows * k_);
    states_ = Array<QueryState>(queries.rows);
    const std::vector<QueryState> fresh(static_cast<std::size_t>(queries.rows),
                                        {std::numeric_limits<float>::infinity(), 0, 0});
    states_.upload(0, fresh.data(), queries.rows);
    mean_ = Array<double>(static_cast<int64_t>(plan.mean.size()));
    mean_.upload(0, plan.mean.data(), static_cast<int64_t>(plan.mean.size()));
    encoder_.mean = mean_.get();
    const int64_t tile = memory_.tile_queries;
    raw_queries_ = Array<float>(tile * d_);
    encoded_queries_ = Array<uint8_t>(tile * row_bytes_);
    query_terms_ = Array<ann::KnnQuery>(tile);
    rows_ = Array<Waiting>(tile * capacity_);
    spare_ = Array<Waiting>(tile * capacity_);
  }

  const KnnMemory& memory() const { return memory_; }

  /// `progress`: whether to report on stderr.
  Neighbors run(bool progress) {
    std::array<Chunk, 2> chunks;
    for (int i = 0; i < memory_.buffers; ++i) {
      chunks[static_cast<std::size_t>(i)] = Chunk(memory_.chunk_rows, d_, row_bytes_);
    }
    std::optional<Progress> shown;
    if (progress) shown.emplace("exact k-NN on the GPU", base_.rows * queries_.rows);
    int64_t done = 0;
    std::future<void> next;
    fill(chunks[0], 0);
    for (int64_t first = 0, turn = 0; first < base_.rows; first += memory_.chunk_rows, ++turn) {
      if (next.valid()) next.get();
      Chunk& chunk = chunks[static_cast<std::size_t>(turn % 2)];
      keep_left_out(chunk);
      if (const int64_t after = first + chunk.rows; after < base_.rows) {
        Chunk& other = chunks[static_cast<std::size_t>((turn + 1) % 2)];
        next = std::async(std::launch::async, [this, &other, after] { fill(other, after); });
      }
      for_each_tile(first > 0, [&](const KnnTile& tile) {
        scan_chunk(tile, chunk);
        if (shown) shown->update(done += tile.count * chunk.rows);
      });
    }
    chunks = {};
    take_left_out();
    return collect();
  }

 private:
  /// Base rows in device memory.
  struct Chunk {
    Chunk() = default;
    Chunk(int64_t capacity, int64_t d, int64_t row_bytes)
        : raw(capacity * d), encoded(capacity * row_bytes), terms(capacity), list(capacity) {}
    int64_t first = 0, rows = 0;
    Array<float> raw;
    Array<uint8_t> encoded;
    Array<ann::KnnRow> terms;
    Array<int32_t> list;
    std::vector<int32_t> left_out;    // rows of the base
    std::vector<float> left_out_raw;  // [left_out, d]
  };

  static int64_t staging_bytes(const KnnMatrix& source) {
    return Device::Loader::device_bytes(source);
  }

  static void check_finite(typename Device::Loader& loader, const EncodedRows& encoded,
                           const KnnMatrix& source, int64_t first, const char* what) {
    if (encoded.bad_row < 0) return;
    const int64_t row = first + encoded.bad_row;
    std::vector<float> values(static_cast<std::size_t>(source.cols));
    loader.to_host(source.slice(row, 1), values.data());
    const auto bad =
        std::find_if(values.begin(), values.end(), [](float value) { return value - value != 0; });
    throw Error(ErrorCategory::kUsage, std::string("exact_knn: ") + what + " row " +
                                           std::to_string(row) + " holds " + std::to_string(*bad));
  }

  /// Loads and encodes the rows from `first` on.
  void fill(Chunk& chunk, int64_t first) {
    chunk.first = first;
    chunk.rows = std::min(memory_.chunk_rows, base_.rows - first);
    base_loader_.load(base_.slice(first, chunk.rows), chunk.raw.get());
    EncodedRows encoded =
        base_loader_.encode_base(encoder_, chunk.raw.get(), chunk.rows, chunk.encoded.get(),
                                 chunk.terms.get(), chunk.list.get());
    check_finite(base_loader_, encoded, base_, first, "base");
    const auto left_out = static_cast<int64_t>(encoded.left_out.size());
    if (give_up_ && too_many_left_out(left_out, first + chunk.rows)) throw PlanMissed{};
    chunk.left_out_raw.resize(encoded.left_out.size() * static_cast<std::size_t>(d_));
    base_loader_.gather(chunk.raw.get(), d_, encoded.left_out, chunk.left_out_raw.data());
    chunk.left_out = std::move(encoded.left_out);
    for (int32_t& row : chunk.left_out) row += static_cast<int32_t>(first);
  }

  void keep_left_out(const Chunk& chunk) {
    left_out_.insert(left_out_.end(), chunk.left_out.begin(), chunk.left_out.end());
    left_out_raw_.insert(left_out_raw_.end(), chunk.left_out_raw.begin(), chunk.left_out_raw.end());
    const auto count = static_cast<int64_t>(left_out_.size());
    if (give_up_ && too_many_left_out(count, chunk.first + chunk.rows)) throw PlanMissed{};
  }

  void load_queries(int64_t first, int64_t count) {
    query_loader_.load(queries_.slice(first, count), raw_queries_.get());
    const EncodedRows encoded = query_loader_.encode_queries(
        encoder_, raw_queries_.get(), count, encoded_queries_.get(), query_terms_.get());
    check_finite(query_loader_, encoded, queries_, first, "queries");
    all_held_ = encoded.left_out.empty();
  }

  /// Calls work(tile) for all queries, their neighbours so far in the buffers before and what is in
  /// the buffers kept after it.
  template <class Work>
  void for_each_tile(bool continued, const Work& work) {
    const auto narrow = static_cast<std::size_t>(k_) * sizeof(Waiting);
    const auto wide = static_cast<std::size_t>(capacity_) * sizeof(Waiting);
    for (int64_t q = 0; q < queries_.rows; q += memory_.tile_queries) {
      const int64_t count = std::min(memory_.tile_queries, queries_.rows - q);
      // A single tile is still there from the chunk before.
      if (!continued || memory_.tile_queries < queries_.rows) load_queries(q, count);
      Waiting* const kept = kept_.get() + q * k_;
      if (continued) device_.copy_places(rows_.get(), wide, kept, narrow, narrow, count);
      work(KnnTile{raw_queries_.get(), encoded_queries_.get(), query_terms_.get(),
                   states_.get() + q, rows_.get(), spare_.get(), count,
                   static_cast<int32_t>(capacity_), static_cast<int32_t>(k_)});
      device_.copy_places(kept, narrow, rows_.get(), wide, narrow, count);
    }
  }

  void scan_chunk(const KnnTile& tile, const Chunk& chunk) {
    const int64_t most = device_.most_rows(plan_.path);
    // Without a threshold all rows of a piece wait. It must fit the buffer, and the pieces that
    // follow double: each then adds about as many neighbours as are known.
    int64_t rows = chunk.first == 0 ? std::min(most, capacity_ / 2) : most;
    for (int64_t at = 0; at < chunk.rows; at += rows, rows = std::min(2 * rows, most)) {
      rows = std::min(rows, chunk.rows - at);
      const KnnPiece piece{chunk.raw.get(),
                           chunk.encoded.get() + at * row_bytes_,
                           chunk.terms.get() + at,
                           chunk.first,
                           chunk.first + at,
                           rows,
                           d_,
                           row_bytes_,
                           encoder_.metric(),
                           plan_.path};
      device_.scan(tile, piece, at + rows == chunk.rows);
    }
    if (!all_held_) {
      const ExactRows all{chunk.raw.get(), nullptr, chunk.first, chunk.rows, d_, encoder_.metric()};
      device_.take(tile, all, false);
    }
  }

  /// The rows that no pass held, for the queries that the passes held.
  void take_left_out() {
    if (left_out_.empty()) return;
    const auto all = static_cast<int64_t>(left_out_.size());
    const int64_t step = std::min(all, memory_.chunk_rows);  // fits what the chunks freed
    Array<float> raw(step * d_);
    Array<int32_t> ids(step);
    for (int64_t first = 0; first < all; first += step) {
      const int64_t count = std::min(step, all - first);
      raw.upload(0, left_out_raw_.data() + first * d_, count * d_);
      ids.upload(0, left_out_.data() + first, count);
      for_each_tile(true, [&](const KnnTile& tile) {
        device_.take(tile, ExactRows{raw.get(), ids.get(), 0, count, d_, encoder_.metric()}, true);
      });
    }
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
  const KnnPlan& plan_;
  ann::KnnEncoder encoder_;
  KnnMatrix base_, queries_;
  int64_t k_, wanted_, d_, row_bytes_, capacity_;
  bool give_up_;
  typename Device::Loader base_loader_, query_loader_;
  KnnMemory memory_;
  bool all_held_ = true;           // by the pass, of the tile's queries
  std::vector<int32_t> left_out_;  // base rows that the pass does not hold
  std::vector<float> left_out_raw_;
  Array<Waiting> kept_;       // [nq, k]: exact neighbours so far
  Array<QueryState> states_;  // [nq]
  Array<double> mean_;
  Array<float> raw_queries_;
  Array<uint8_t> encoded_queries_;
  Array<ann::KnnQuery> query_terms_;
  Array<Waiting> rows_, spare_;
};

/// A search and what it was; neighbors.plan is left to the caller.
struct PlannedSearch {
  Neighbors neighbors;
  KnnPath path;
  std::string reason;
  KnnMemory memory;
};

/// Plans by samples, searches, and plans again where a pass does not hold many of the rows.
template <class Device>
PlannedSearch plan_and_search(Device& device, const DeviceTraits& traits, const KnnMatrix& queries,
                              const KnnMatrix& base, ann::Metric metric, int k, KnnPath asked,
                              int64_t memory, bool progress, int threads) {
  typename Device::Loader loader(device);
  const SampledRows<typename Device::Loader> of_base(loader, base), of_queries(loader, queries);
  KnnPath given_up = KnnPath::kAuto;
  while (true) {
    const KnnPlan plan = plan_knn(traits, of_queries.sample(), of_base.sample(), metric, k, asked,
                                  threads, given_up);
    const bool may_give_up = asked == KnnPath::kAuto && plan.path != KnnPath::kFp32;
    try {
      KnnSearch<Device> search(device, plan, queries, base, k, memory, may_give_up);
      return {search.run(progress), plan.path, plan.reason, search.memory()};
    } catch (const PlanMissed&) {
      given_up = plan.path;
    }
  }
}

}  // namespace crinn::gpu
