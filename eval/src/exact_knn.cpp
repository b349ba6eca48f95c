// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/knn_frame.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/base/progress.h"
#include "crinn/eval/dataset.h"
#include "exact_knn_kernel.h"
#include "sources.h"

namespace crinn::eval {
namespace {

using ann::KnnQuery;
using ann::SerialGroup;
using knn::kQueryRows;
constexpr int kPanel = 2 * knn::kWidth;      // base rows of one tile
constexpr int64_t kDepth = 256;              // dimensions of one tile: bounds the rounding chain
constexpr int64_t kQueryBytes = 512 << 10;   // packed queries of one block: stay in L2
constexpr int64_t kChunkBytes = 32ll << 20;  // packed base rows held at a time: few new pages

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Queries that one thread multiplies at a time.
int64_t query_block(int64_t d, int64_t queries, int threads) {
  return round_up(
      std::min({int64_t{240}, std::max<int64_t>(1, kQueryBytes / (d * int64_t{sizeof(float)})),
                (queries + threads - 1) / threads}),
      kQueryRows);
}

/// A row that may be among the nearest, with its bounds.
struct Survivor {
  float lower, upper;
  int64_t id;
};

/// The rows that one query cannot exclude so far.
class Survivors {
 public:
  void start(KnnQuery query, int64_t k) {
    query_ = query;
    k_ = static_cast<std::size_t>(k);
    limit_ = 2 * k_ + 64;
  }
  float slope() const { return query_.slope; }
  float threshold() const { return threshold_; }
  bool full() const { return rows_.size() >= limit_; }
  /// Bounds alone do not thin them out (ties, near-duplicates): rank them by exact distance.
  bool crowded() const { return rows_.size() > std::max(4 * k_, kCrowd); }
  std::vector<Survivor>& rows() { return rows_; }

  void add(float lower, float upper, int64_t id) { rows_.push_back({lower, upper, id}); }

  /// Tightens the threshold to the k-th smallest upper bound, and drops what lies above it.
  void compact(std::vector<float>& scratch) {
    if (rows_.size() < k_) return;
    scratch.clear();
    for (const Survivor& row : rows_) scratch.push_back(row.upper);
    const auto kth = scratch.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(scratch.begin(), kth, scratch.end());
    threshold_ = std::min(threshold_, ann::knn_threshold(*kth, query_));
    std::erase_if(rows_, [&](const Survivor& row) { return row.lower > threshold_; });
    if (!crowded()) limit_ = std::max(limit_, 2 * rows_.size());
  }

 private:
  static constexpr std::size_t kCrowd = 1024;
  KnnQuery query_{};
  std::size_t k_ = 1, limit_ = 0;
  float threshold_ = std::numeric_limits<float>::infinity();
  std::vector<Survivor> rows_;
};

/// Scratch of one thread.
struct Scratch {
  std::vector<float> uppers;
  std::vector<std::pair<std::pair<double, int64_t>, Survivor>> exact;
};

/// Base rows as panels [d, kPanel] with the terms of their bounds.
struct Chunk {
  HugeArray<float> panels;
  std::vector<float> low, high, weight;
};

int64_t row_bytes(int64_t d) { return (d + 3) * int64_t{sizeof(float)}; }

/// Work space beside the chunk: norms; survivors and the result; packed queries; what threads pack
/// and multiply.
int64_t fixed_bytes(int64_t rows, int64_t d, int64_t queries, int k, int threads) {
  return (rows + queries) * int64_t{sizeof(double)} +
         queries * (3 * int64_t{k} + 64) * int64_t{sizeof(Survivor)} +
         (round_up(queries, kQueryRows) * d +
          threads * kPanel * std::max(query_block(d, queries, threads), d)) *
             int64_t{sizeof(float)};
}

/// Base rows of a chunk within `memory` bytes of work space; 0: no limit.
int64_t plan_chunk(MatrixView<const float> base, int64_t queries, int k, int threads,
                   int64_t memory) {
  const int64_t each = row_bytes(base.cols);
  const int64_t all = round_up(base.rows, kPanel);
  const int64_t usual = std::max<int64_t>(kPanel, kChunkBytes / each / kPanel * kPanel);
  if (memory == 0) return std::min(all, usual);
  const int64_t least = exact_knn_least(base.rows, base.cols, queries, k, threads);
  if (memory < least) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("exact_knn: {} bytes of memory are too little: the least here is {} "
                            "MiB beside the vectors",
                            memory, (least >> 20) + 1));
  }
  const int64_t fixed = fixed_bytes(base.rows, base.cols, queries, k, threads);
  return std::min({all, usual, (memory - fixed) / each / kPanel * kPanel});
}

class Search {
 public:
  Search(MatrixView<const float> base, MatrixView<const float> queries, ann::Metric metric, int k,
         int threads)
      : base_(base),
        queries_(queries),
        k_(std::min<int64_t>(k, base.rows)),
        threads_(threads),
        frame_(ann::find_knn_frame({base}, {queries}, metric, ann::KnnFormat::kFp32, threads)),
        encoder_(ann::fp32_encoder(metric, base.cols,
                                   std::min(base.cols, kDepth) + base.cols / kDepth + 2, frame_)),
        survivors_(static_cast<std::size_t>(queries.rows)) {
    encoder_.mean = frame_.mean.data();
  }

  /// The fp32 pass over all pairs, `chunk_rows` base rows at a time.
  void scan(int64_t chunk_rows) {
    const int64_t d = base_.cols;
    const int64_t block_rows = query_block(d, queries_.rows, threads_);
    pack_queries();
    Chunk chunk;
    chunk.panels = HugeArray<float>(static_cast<std::size_t>(chunk_rows * d));
    for (auto* terms : {&chunk.low, &chunk.high, &chunk.weight}) {
      terms->resize(static_cast<std::size_t>(chunk_rows));
    }
    Progress progress("exact k-NN", base_.rows * queries_.rows);
    std::atomic<int64_t> done{0};
    for (int64_t first = 0; first < base_.rows; first += chunk_rows) {
      const int64_t count = std::min(chunk_rows, base_.rows - first);
      pack_base(first, count, chunk);
      parallel_for_indexed(threads_, queries_.rows, block_rows,
                           [&](int thread, int64_t begin, int64_t end) {
                             scan_block(begin, end, first, count, chunk);
                             done += (end - begin) * count;
                             if (thread == 0) progress.update(done);
                           });
    }
  }

  /// The nearest k of each query by exact distance, ties by id.
  void rank(int k, GroundTruth& truth) {
    parallel_for(threads_, queries_.rows, 16, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      for (int64_t q = begin; q < end; ++q) {
        settle(q, scratch);
        for (int64_t j = 0; j < k_; ++j) {
          const auto& [distance, id] = scratch.exact[static_cast<std::size_t>(j)].first;
          truth.distances[static_cast<std::size_t>(q * k + j)] = distance;
          truth.ids[static_cast<std::size_t>(q * k + j)] = id;
        }
      }
    });
  }

 private:
  void pack_base(int64_t first, int64_t count, Chunk& chunk) {
    const int64_t d = base_.cols;
    parallel_for(threads_, (count + kPanel - 1) / kPanel, 8, [&](int64_t begin, int64_t end) {
      std::vector<float> rows(static_cast<std::size_t>(kPanel * d));
      for (int64_t p = begin; p < end; ++p) {
        for (int64_t j = 0; j < kPanel; ++j) {
          const auto at = static_cast<std::size_t>(p * kPanel + j);
          float* row = rows.data() + j * d;
          ann::KnnRow terms{0, 0, 0, 0};
          if (p * kPanel + j < count) {
            terms = encoder_.base_row(SerialGroup{}, base_.row(first + p * kPanel + j),
                                      reinterpret_cast<uint8_t*>(row));
          } else {  // padding: excluded by scan_block()
            std::fill_n(row, d, 0.0f);
          }
          chunk.low[at] = terms.low;
          chunk.high[at] = terms.high;
          chunk.weight[at] = terms.weight;
        }
        float* panel = chunk.panels.data() + p * kPanel * d;
        for (int64_t i = 0; i < d; ++i) {
          for (int64_t j = 0; j < kPanel; ++j)
            panel[i * kPanel + j] = rows[static_cast<std::size_t>(j * d + i)];
        }
      }
    });
  }

  /// All queries in tiles [d, kQueryRows], and their terms.
  void pack_queries() {
    const int64_t d = base_.cols;
    packed_ = HugeArray<float>(static_cast<std::size_t>(round_up(queries_.rows, kQueryRows) * d));
    parallel_for(threads_, queries_.rows, 8 * kQueryRows, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(d));
      for (int64_t q = begin; q < end; ++q) {
        const KnnQuery terms = encoder_.query_row(SerialGroup{}, queries_.row(q),
                                                  reinterpret_cast<uint8_t*>(row.data()));
        survivors_[static_cast<std::size_t>(q)].start(terms, k_);
        float* tile = packed_.data() + q / kQueryRows * kQueryRows * d + q % kQueryRows;
        for (int64_t i = 0; i < d; ++i) tile[i * kQueryRows] = row[static_cast<std::size_t>(i)];
      }
    });
  }

  /// begin is a multiple of kQueryRows.
  void scan_block(int64_t begin, int64_t end, int64_t first, int64_t count, const Chunk& chunk) {
    const int64_t d = base_.cols;
    const int64_t rows = round_up(end - begin, kQueryRows);
    const float* packed = packed_.data() + begin * d;
    HugeArray<float> products(static_cast<std::size_t>(rows * kPanel));
    Scratch scratch;
    for (int64_t panel = 0; panel < count; panel += kPanel) {
      for (int64_t i = 0; i < d; i += kDepth) {
        const float* right = chunk.panels.data() + panel * d + i * kPanel;
        for (int64_t m = 0; m < rows; m += kQueryRows) {
          knn::product_tile<knn::kWidth, kQueryRows>(packed + m * d + i * kQueryRows, right,
                                                     std::min(kDepth, d - i), i == 0,
                                                     products.data() + m * kPanel);
        }
      }
      const int valid = static_cast<int>(std::min<int64_t>(kPanel, count - panel));
      for (int64_t q = begin; q < end; ++q) {
        select(q, products.data() + (q - begin) * kPanel, chunk, panel, valid, first, scratch);
      }
    }
    for (int64_t q = begin; q < end; ++q) thin_out(q, scratch);
  }

  void select(int64_t q, const float* products, const Chunk& chunk, int64_t panel, int valid,
              int64_t first, Scratch& scratch) {
    Survivors& survivors = survivors_[static_cast<std::size_t>(q)];
    const float* low = chunk.low.data() + panel;
    const float* high = chunk.high.data() + panel;
    const float* weight = chunk.weight.data() + panel;
    if (!knn::any_survivor<knn::kWidth>(products, low, weight, survivors.slope(),
                                        survivors.threshold())) {
      return;
    }
    const KnnQuery query{survivors.slope(), 0, 0};
    for (int j = 0; j < valid; ++j) {
      const ann::KnnRow terms{low[j], high[j], weight[j], 0};
      const float lower = ann::knn_lower(terms, query, products[j]);
      if (lower > survivors.threshold()) continue;
      survivors.add(lower, ann::knn_upper(terms, query, products[j]), first + panel + j);
      if (survivors.full()) thin_out(q, scratch);
    }
  }

  void thin_out(int64_t q, Scratch& scratch) {
    Survivors& survivors = survivors_[static_cast<std::size_t>(q)];
    survivors.compact(scratch.uppers);
    if (survivors.crowded()) settle(q, scratch);
  }

  /// Keeps the k exactly nearest survivors: no other row seen so far can be a result.
  void settle(int64_t q, Scratch& scratch) {
    std::vector<Survivor>& rows = survivors_[static_cast<std::size_t>(q)].rows();
    scratch.exact.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i + 1 < rows.size()) {  // the rows lie anywhere
        const float* next = base_.row(rows[i + 1].id);
        for (int64_t j = 0; j < base_.cols; j += 16) __builtin_prefetch(next + j);
      }
      const Survivor& row = rows[i];
      const double distance =
          ann::exact_distance(queries_.row(q), base_.row(row.id), base_.cols, encoder_.metric());
      scratch.exact.push_back({{distance, row.id}, row});
    }
    const auto by_distance_then_id = [](const auto& a, const auto& b) { return a.first < b.first; };
    std::partial_sort(scratch.exact.begin(), scratch.exact.begin() + k_, scratch.exact.end(),
                      by_distance_then_id);
    rows.clear();
    for (int64_t j = 0; j < k_; ++j) {
      rows.push_back(scratch.exact[static_cast<std::size_t>(j)].second);
    }
  }

  MatrixView<const float> base_, queries_;
  int64_t k_;
  int threads_;
  ann::KnnFrame frame_;
  ann::KnnEncoder encoder_;
  HugeArray<float> packed_;
  std::vector<Survivors> survivors_;
};

}  // namespace

int64_t exact_knn_least(int64_t rows, int64_t d, int64_t queries, int k, int threads) {
  return fixed_bytes(rows, d, queries, k, threads) + kPanel * row_bytes(d);
}

GroundTruth exact_knn(MatrixView<const float> base, MatrixView<const float> queries,
                      ann::Metric metric, int k, int threads, int64_t memory_bytes) {
  if (k < 1) throw Error(ErrorCategory::kUsage, fmt::format("exact_knn: k = {} is below 1", k));
  if (queries.rows > 0 && base.rows > 0 && (base.cols != queries.cols || base.cols < 1)) {
    throw Error(
        ErrorCategory::kUsage,
        fmt::format("exact_knn: base has {} dimensions, queries have {}", base.cols, queries.cols));
  }
  GroundTruth truth;
  truth.queries = queries.rows;
  truth.k = k;
  truth.ids.assign(static_cast<std::size_t>(queries.rows * k), -1);
  truth.distances.assign(truth.ids.size(), std::numeric_limits<double>::infinity());
  if (base.rows == 0 || queries.rows == 0) return truth;
  threads = std::max(threads, 1);
  const int64_t chunk_rows = plan_chunk(base, queries.rows, k, threads, memory_bytes);
  Search search(base, queries, metric, k, threads);
  search.scan(chunk_rows);
  search.rank(k, truth);
  return truth;
}

}  // namespace crinn::eval
