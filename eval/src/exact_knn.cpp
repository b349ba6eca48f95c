// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/knn_frame.h"
#include "crinn/base/error.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/parallel.h"
#include "crinn/base/progress.h"
#include "crinn/eval/dataset.h"
#include "exact_knn_kernel.h"
#include "exact_knn_survivors.h"
#include "leading_axes.h"
#include "sources.h"

namespace crinn::eval {
namespace {

using ann::KnnQuery;
using ann::SerialGroup;
using knn::kPanel;
using knn::kQueryRows;
using knn::padded;
using knn::round_up;
constexpr int64_t kQueryBytes = 512 << 10;   // packed queries of one block: stay in L2
constexpr int64_t kChunkBytes = 32ll << 20;  // packed base rows held at a time: few new pages
/// A thread's part of the same where single rows are read: stays in L3.
constexpr int64_t kCacheBytes = 2ll << 20;

/// Queries that one thread multiplies at a time.
int64_t query_block(int64_t depth, int64_t queries, int threads) {
  return round_up(
      std::min({int64_t{240}, std::max<int64_t>(1, kQueryBytes / (depth * int64_t{sizeof(float)})),
                (queries + threads - 1) / threads}),
      kQueryRows);
}

/// Scratch of one thread.
struct Scratch {
  HugeArray<float> rows, panel, bounds;  ///< encoded rows, [d, kPanel], their projections
  HugeArray<float> products;             ///< [queries of a block, kPanel]
  std::vector<float> uppers;
  std::vector<std::pair<std::pair<double, int64_t>, Survivor>> exact;
};

/// Base rows as panels [depth, kPanel] with the terms of their bounds; where leading axes come
/// first, the rows too, [count, padded(d)].
struct Chunk {
  HugeArray<float> panels, rows, low, high, weight;
};

int64_t row_bytes(int64_t d, const LeadingAxes& axes) {
  const int64_t rows = axes.count() > 0 ? padded(d) : 0;
  return (axes.depth() + rows + 3) * int64_t{sizeof(float)};
}

/// Work space beside the chunk: partial sums of the mean and norms of queries; survivors and the
/// result; packed queries; what threads pack and multiply.
int64_t fixed_bytes(int64_t rows, int64_t d, int64_t queries, int k, int threads) {
  return ((rows / 4096 + 2) * d + queries) * int64_t{sizeof(double)} +
         queries * (3 * int64_t{k} + 64) * int64_t{sizeof(Survivor)} +
         (round_up(queries, kQueryRows) * d +
          threads * kPanel * (2 * padded(d) + query_block(d, queries, threads))) *
             int64_t{sizeof(float)};
}

/// The same where leading axes come first, while they are chosen too.
int64_t fixed_bytes_of_axes(int64_t rows, int64_t d, int64_t queries, int k, int threads) {
  return fixed_bytes(rows, d, queries, k, threads) + leading_axes_bytes(d) +
         queries * padded(d) * int64_t{sizeof(float)};
}

void check_memory(int64_t rows, int64_t d, int64_t queries, int k, int threads, int64_t memory) {
  const int64_t least = exact_knn_least(rows, d, queries, k, threads);
  if (memory == 0 || memory >= least) return;
  throw Error(ErrorCategory::kUsage,
              fmt::format("exact_knn: {} bytes of memory are too little: the least here is {} "
                          "MiB beside the vectors",
                          memory, (least >> 20) + 1));
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
        encoder_(ann::fp32_encoder(metric, base.cols, knn::chain(base.cols), frame_)),
        axes_(base.cols),
        survivors_(static_cast<std::size_t>(queries.rows)),
        scratch_(static_cast<std::size_t>(threads)) {
    encoder_.mean = frame_.mean.data();
  }

  /// Whether there are any.
  bool choose_axes(std::optional<int64_t> count) {
    if (!count) {
      axes_ = choose_leading_axes(base_, queries_, encoder_, k_, threads_);
    } else if (*count > 0) {
      axes_ = make_leading_axes(base_, encoder_, std::min(*count, base_.cols));
    }
    return axes_.count() > 0;
  }

  /// The pass over all pairs, within `memory` bytes of work space of which `fixed` are spoken for;
  /// 0: no limit.
  void scan(int64_t memory, int64_t fixed) {
    const int64_t d = base_.cols, each = row_bytes(d, axes_);
    const int64_t usual = axes_.count() > 0
                              ? std::min(kCacheBytes * std::max(threads_, 2), kChunkBytes)
                              : kChunkBytes;
    int64_t chunk_rows = std::min(round_up(base_.rows, kPanel),
                                  std::max<int64_t>(kPanel, usual / each / kPanel * kPanel));
    if (memory > 0) {
      chunk_rows = std::min(chunk_rows,
                            std::max<int64_t>(kPanel, (memory - fixed) / each / kPanel * kPanel));
    }
    const int64_t block_rows = query_block(axes_.depth(), queries_.rows, threads_);
    for (Scratch& scratch : scratch_) {
      scratch.rows = HugeArray<float>(static_cast<std::size_t>(kPanel * padded(d)));
      scratch.panel = HugeArray<float>(static_cast<std::size_t>(kPanel * d));
      scratch.bounds = HugeArray<float>(static_cast<std::size_t>(kPanel * axes_.out_rows()));
      scratch.products = HugeArray<float>(static_cast<std::size_t>(block_rows * kPanel));
    }
    pack_queries();
    Chunk chunk;
    chunk.panels = HugeArray<float>(static_cast<std::size_t>(chunk_rows * axes_.depth()));
    if (axes_.count() > 0) {
      chunk.rows = HugeArray<float>(static_cast<std::size_t>(chunk_rows * padded(d)));
    }
    for (auto* terms : {&chunk.low, &chunk.high, &chunk.weight}) {
      *terms = HugeArray<float>(static_cast<std::size_t>(chunk_rows));
    }
    Progress progress("exact k-NN", base_.rows * queries_.rows);
    std::atomic<int64_t> done{0};
    for (int64_t first = 0; first < base_.rows; first += chunk_rows) {
      const int64_t count = std::min(chunk_rows, base_.rows - first);
      pack_base(first, count, chunk);
      parallel_for_indexed(
          threads_, queries_.rows, block_rows, [&](int thread, int64_t begin, int64_t end) {
            scan_block(begin, end, first, count, chunk, scratch_[static_cast<std::size_t>(thread)]);
            done += (end - begin) * count;
            if (thread == 0) progress.update(done);
          });
    }
  }

  /// The nearest k of each query by exact distance, ties by id.
  void rank(int k, GroundTruth& truth) {
    parallel_for_indexed(threads_, queries_.rows, 16, [&](int thread, int64_t begin, int64_t end) {
      Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
      for (int64_t q = begin; q < end; ++q) {
        survivors_[static_cast<std::size_t>(q)].compact(scratch.uppers);
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
    const int64_t d = base_.cols, stride = padded(d), depth = axes_.depth();
    const int64_t panels = (count + kPanel - 1) / kPanel;
    parallel_for_indexed(threads_, panels, 8, [&](int thread, int64_t begin, int64_t end) {
      Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
      for (int64_t p = begin; p < end; ++p) {
        const int64_t valid = std::min<int64_t>(kPanel, count - p * kPanel);
        float* const rows =
            axes_.count() > 0 ? chunk.rows.data() + p * kPanel * stride : scratch.rows.data();
        std::array<double, kPanel> norms{};
        for (int64_t j = 0; j < valid; ++j) {  // what lies beyond is excluded by scan_block()
          const int64_t at = p * kPanel + j;
          const ann::KnnRow terms =
              encoder_.base_row(SerialGroup{}, base_.row(first + p * kPanel + j),
                                reinterpret_cast<uint8_t*>(rows + j * stride));
          chunk.low.data()[at] = terms.low;
          chunk.high.data()[at] = terms.high;
          chunk.weight.data()[at] = terms.weight;
          norms[static_cast<std::size_t>(j)] = norm_above(terms);
        }
        float* const panel = chunk.panels.data() + p * kPanel * depth;
        if (axes_.count() == 0) {
          knn::transpose(rows, stride, valid, d, panel);
          continue;
        }
        knn::transpose(rows, stride, valid, d, scratch.panel.data());
        axes_.project(scratch.panel.data(), norms.data(), scratch.bounds.data());
        std::copy_n(scratch.bounds.data(), depth * kPanel, panel);
      }
    });
  }

  /// All queries in tiles [depth, kQueryRows], and their terms; where leading axes come first, also
  /// as rows.
  void pack_queries() {
    const int64_t d = base_.cols, stride = padded(d), depth = axes_.depth();
    const bool both = axes_.count() > 0;
    // A loose threshold costs little where a product is known anyhow.
    const int64_t room = both ? k_ / 4 + 32 : k_ + 64;
    packed_ =
        HugeArray<float>(static_cast<std::size_t>(round_up(queries_.rows, kQueryRows) * depth));
    slopes_.resize(survivors_.size());
    if (both) query_rows_ = HugeArray<float>(static_cast<std::size_t>(queries_.rows * stride));
    parallel_for_indexed(
        threads_, queries_.rows, kPanel, [&](int thread, int64_t begin, int64_t end) {
          Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
          float* const rows = both ? query_rows_.data() + begin * stride : scratch.rows.data();
          std::array<double, kPanel> norms{};
          for (int64_t q = begin; q < end; ++q) {
            const KnnQuery terms =
                encoder_.query_row(SerialGroup{}, queries_.row(q),
                                   reinterpret_cast<uint8_t*>(rows + (q - begin) * stride));
            survivors_[static_cast<std::size_t>(q)].start(terms, k_, room);
            slopes_[static_cast<std::size_t>(q)] = both ? axes_.slope(terms) : terms.slope;
            norms[static_cast<std::size_t>(q - begin)] = norm_above(terms);
          }
          const float* panel = scratch.panel.data();
          knn::transpose(rows, stride, end - begin, d, scratch.panel.data());
          if (both) {
            axes_.project(panel, norms.data(), scratch.bounds.data());
            panel = scratch.bounds.data();
          }
          for (int64_t q = begin; q < end; ++q) {
            float* tile = packed_.data() + q / kQueryRows * kQueryRows * depth + q % kQueryRows;
            for (int64_t i = 0; i < depth; ++i)
              tile[i * kQueryRows] = panel[i * kPanel + q - begin];
          }
        });
  }

  /// begin is a multiple of kQueryRows.
  void scan_block(int64_t begin, int64_t end, int64_t first, int64_t count, const Chunk& chunk,
                  Scratch& scratch) {
    const int64_t depth = axes_.depth(), rows = round_up(end - begin, kQueryRows);
    const float* packed = packed_.data() + begin * depth;
    float* const products = scratch.products.data();
    for (int64_t panel = 0; panel < count; panel += kPanel) {
      // Slice after slice of the dimensions, so that the panel's part stays in L1.
      for (int64_t i = 0; i < depth; i += knn::kDepth) {
        for (int64_t m = 0; m < rows; m += kQueryRows) {
          knn::product_slice(packed + m * depth, chunk.panels.data() + panel * depth, depth, i,
                             products + m * kPanel);
        }
      }
      const int valid = static_cast<int>(std::min<int64_t>(kPanel, count - panel));
      for (int64_t q = begin; q < end; ++q) {
        select(q, products + (q - begin) * kPanel, chunk, panel, valid, first, scratch);
      }
    }
  }

  void select(int64_t q, const float* products, const Chunk& chunk, int64_t panel, int valid,
              int64_t first, Scratch& scratch) {
    Survivors& survivors = survivors_[static_cast<std::size_t>(q)];
    const float* low = chunk.low.data() + panel;
    const float* high = chunk.high.data() + panel;
    const float* weight = chunk.weight.data() + panel;
    const float slope = slopes_[static_cast<std::size_t>(q)];
    uint32_t left =
        knn::survivors<knn::kWidth>(products, low, weight, slope, survivors.threshold());
    if (left == 0) return;
    const int64_t stride = padded(base_.cols);
    const KnnQuery query{survivors.slope(), 0, 0};
    for (; left != 0; left &= left - 1) {
      const int j = std::countr_zero(left);
      if (j >= valid) return;
      const ann::KnnRow terms{low[j], high[j], weight[j], 0};
      const float product =
          axes_.count() == 0
              ? products[j]
              : knn::product<knn::kWidth>(query_rows_.data() + q * stride,
                                          chunk.rows.data() + (panel + j) * stride, stride);
      const float lower = ann::knn_lower(terms, query, product);
      if (lower > survivors.threshold()) continue;
      survivors.add(lower, ann::knn_upper(terms, query, product), first + panel + j);
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
  LeadingAxes axes_;
  HugeArray<float> packed_, query_rows_;
  std::vector<Survivors> survivors_;
  std::vector<float> slopes_;  ///< of the first bound
  std::vector<Scratch> scratch_;
};

}  // namespace

int64_t exact_knn_least(int64_t rows, int64_t d, int64_t queries, int k, int threads) {
  return fixed_bytes(rows, d, queries, k, threads) + kPanel * row_bytes(d, LeadingAxes(d));
}

GroundTruth exact_knn(MatrixView<const float> base, MatrixView<const float> queries,
                      ann::Metric metric, int k, int threads, int64_t memory_bytes,
                      std::optional<int64_t> leading_axes) {
  if (k < 1) throw Error(ErrorCategory::kUsage, fmt::format("exact_knn: k = {} is below 1", k));
  if (queries.rows > 0 && base.rows > 0 && (base.cols != queries.cols || base.cols < 1)) {
    throw Error(
        ErrorCategory::kUsage,
        fmt::format("exact_knn: base has {} dimensions, queries have {}", base.cols, queries.cols));
  }
  if (leading_axes && (*leading_axes < 0 || *leading_axes > kMostLeadingAxes)) {
    throw Error(ErrorCategory::kUsage, fmt::format("exact_knn: {} leading axes, not 0 to {}",
                                                   *leading_axes, kMostLeadingAxes));
  }
  GroundTruth truth;
  truth.queries = queries.rows;
  truth.k = k;
  truth.ids.assign(static_cast<std::size_t>(queries.rows * k), -1);
  truth.distances.assign(truth.ids.size(), std::numeric_limits<double>::infinity());
  if (base.rows == 0 || queries.rows == 0) return truth;
  threads = std::max(threads, 1);
  const int64_t d = base.cols;
  check_memory(base.rows, d, queries.rows, k, threads, memory_bytes);
  Search search(base, queries, metric, k, threads);
  const int64_t with_axes = fixed_bytes_of_axes(base.rows, d, queries.rows, k, threads);
  const bool room = memory_bytes == 0 || memory_bytes >= with_axes + 2 * kCacheBytes;
  const bool first = room && search.choose_axes(leading_axes);
  search.scan(memory_bytes,
              first ? with_axes : fixed_bytes(base.rows, d, queries.rows, k, threads));
  search.rank(k, truth);
  return truth;
}

}  // namespace crinn::eval
