// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/partitions.h"

#include <bit>
#include <cmath>
#include <limits>

#include "crinn/ann/toolbox/entries.h"
#include "crinn/ann/toolbox/select.h"
#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"

namespace crinn::ann::detail {
namespace {

constexpr int64_t kFewest = 16;   // points a list: below, ranking lists costs more than it saves
constexpr int64_t kLongest = 4;   // times the mean
constexpr int64_t kSmallest = 4;  // a cell of less than 1 / 4 of the mean starts anew
constexpr int kAxes = 60;

/// Projects one vector after the other.
class Axes {
 public:
  explicit Axes(const Projection& projection)
      : projection_(projection),
        centered_(static_cast<std::size_t>(projection.input_dims())),
        out_(static_cast<std::size_t>(projection.out_capacity())),
        work_(static_cast<std::size_t>(projection.work_capacity())) {}

  /// [projection.dims()], until the next call.
  const float* operator()(const float* row) {
    for (std::size_t j = 0; j < centered_.size(); ++j) {
      centered_[j] = row[j] - projection_.mean()[j];
    }
    projection_.apply_centered(row, centered_.data(), out_.data(), work_.data());
    return out_.data();
  }

 private:
  const Projection& projection_;
  std::vector<float> centered_, out_;
  std::vector<int8_t> work_;
};

/// Which of the centres is nearest.
class Nearest {
 public:
  explicit Nearest(MatrixView<const float> centres) : codes_(centres, Metric::kL2) {}
  QuantizedQuery make_query() const { return codes_.make_query(); }

  int32_t operator()(const float* x, QuantizedQuery& query) const {
    codes_.prepare(x, query);
    float best = std::numeric_limits<float>::infinity();
    int64_t nearest = 0;
    for (int64_t block = 0; block < codes_.blocks(); ++block) {
      alignas(64) float estimates[ScanBlocks<8>::kLanes];
      codes_.score(query, block, estimates);
      for (int64_t first = 0; first < codes_.kLanes; first += 16) {
        for (uint32_t near = below16(estimates + first, best); near != 0; near &= near - 1) {
          const int64_t lane = first + std::countr_zero(near);
          if (!(estimates[lane] < best)) continue;
          best = estimates[lane];
          nearest = block * codes_.kLanes + lane;
        }
      }
    }
    return static_cast<int32_t>(nearest);
  }

 private:
  ScanBlocks<8> codes_;
};

/// The means of the cells' rows; a cell without any keeps its centre. Returns the cells' sizes.
std::vector<int64_t> move_centres(MatrixView<const float> rows, std::span<const int32_t> cell,
                                  int64_t k, std::vector<float>& centres) {
  std::vector<double> sums(centres.size(), 0.0);
  std::vector<int64_t> sizes(static_cast<std::size_t>(k), 0);
  for (int64_t i = 0; i < rows.rows; ++i) {
    const int64_t c = cell[static_cast<std::size_t>(i)];
    ++sizes[static_cast<std::size_t>(c)];
    double* sum = sums.data() + c * rows.cols;
    for (int64_t j = 0; j < rows.cols; ++j) sum[j] += static_cast<double>(rows.row(i)[j]);
  }
  for (int64_t c = 0; c < k; ++c) {
    const auto size = static_cast<double>(sizes[static_cast<std::size_t>(c)]);
    if (size == 0) continue;
    for (int64_t j = c * rows.cols; j < (c + 1) * rows.cols; ++j) {
      centres[static_cast<std::size_t>(j)] =
          static_cast<float>(sums[static_cast<std::size_t>(j)] / size);
    }
  }
  return sizes;
}

/// Small cells start anew at a row of a large one.
void restart_small(MatrixView<const float> rows, std::span<const int32_t> cell,
                   std::span<const int64_t> sizes, Rng& rng, std::vector<float>& centres) {
  constexpr int kTries = 20;
  const auto k = static_cast<int64_t>(sizes.size());
  for (int64_t c = 0; c < k; ++c) {
    if (sizes[static_cast<std::size_t>(c)] * kSmallest * k >= rows.rows) continue;
    for (int i = 0; i < kTries; ++i) {
      const auto row = static_cast<int64_t>(rng.below(static_cast<uint64_t>(rows.rows)));
      const auto host = static_cast<std::size_t>(cell[static_cast<std::size_t>(row)]);
      if (sizes[host] * k <= rows.rows) continue;
      std::copy_n(rows.row(row), rows.cols, centres.data() + c * rows.cols);
      break;
    }
  }
}

/// The cell of every vector.
std::vector<int32_t> assign(MatrixView<const float> base, int64_t k,
                            const PartitionParams& params) {
  const Projection axes(base, ProjectionKind::kPca, kAxes, QueryPrecision::kInt8, params.seed);
  const int64_t m = axes.dims();
  const int64_t wanted = std::min<int64_t>(base.rows, k * std::max(params.sample, 1));
  const std::vector<int32_t> ids =
      random_entries(base.rows, static_cast<int>(wanted), mix_seed(params.seed, 0x6C69));
  std::vector<float> sample(ids.size() * static_cast<std::size_t>(m));
  parallel_for(params.threads, wanted, 256, [&](int64_t begin, int64_t end) {
    Axes project(axes);
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(project(base.row(ids[static_cast<std::size_t>(i)])), m, sample.data() + i * m);
    }
  });
  const MatrixView<const float> rows(sample.data(), wanted, m);
  std::vector<float> centres(sample.begin(), sample.begin() + k * m);  // in random order: a draw
  std::vector<int32_t> cell(static_cast<std::size_t>(wanted));
  Rng rng(mix_seed(params.seed, 0x7274));
  for (int iteration = 0; iteration < params.iterations; ++iteration) {
    const Nearest nearest({centres.data(), k, m});
    parallel_for(params.threads, wanted, 256, [&](int64_t begin, int64_t end) {
      QuantizedQuery query = nearest.make_query();
      for (int64_t i = begin; i < end; ++i) {
        cell[static_cast<std::size_t>(i)] = nearest(rows.row(i), query);
      }
    });
    const std::vector<int64_t> sizes = move_centres(rows, cell, k, centres);
    if (iteration + 1 < params.iterations) restart_small(rows, cell, sizes, rng, centres);
  }
  const Nearest nearest({centres.data(), k, m});
  cell.resize(static_cast<std::size_t>(base.rows));
  parallel_for(params.threads, base.rows, 1024, [&](int64_t begin, int64_t end) {
    Axes project(axes);
    QuantizedQuery query = nearest.make_query();
    for (int64_t i = begin; i < end; ++i) {
      cell[static_cast<std::size_t>(i)] = nearest(project(base.row(i)), query);
    }
  });
  return cell;
}

}  // namespace

Cells make_cells(MatrixView<const float> base, int64_t lanes, const PartitionParams& params) {
  const int64_t n = base.rows;
  const int64_t wanted =
      params.lists > 0 ? params.lists : std::llround(std::sqrt(static_cast<double>(n)));
  const int64_t k = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(n / kFewest, 1));
  std::vector<int32_t> cell(static_cast<std::size_t>(n), 0);
  if (k > 1) cell = assign(base, k, params);

  std::vector<std::vector<int32_t>> members(static_cast<std::size_t>(k));
  for (int64_t i = 0; i < n; ++i) {
    members[static_cast<std::size_t>(cell[static_cast<std::size_t>(i)])].push_back(
        static_cast<int32_t>(i));
  }
  const std::size_t most = static_cast<std::size_t>(std::max(lanes, k == 1 ? n : kLongest * n / k));
  Cells cells;
  cells.first_block.push_back(0);
  std::vector<int32_t> list_of(static_cast<std::size_t>(n));
  for (const std::vector<int32_t>& ids : members) {
    const std::size_t parts = (ids.size() + most - 1) / most;
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t begin = ids.size() * part / parts;
      const std::size_t end = ids.size() * (part + 1) / parts;
      for (std::size_t i = begin; i < end; ++i) {
        list_of[static_cast<std::size_t>(ids[i])] = static_cast<int32_t>(cells.sizes.size());
        cells.places.push_back(ids[i]);
      }
      cells.sizes.push_back(static_cast<int64_t>(end - begin));
      cells.places.resize(
          static_cast<std::size_t>(round_up(static_cast<int64_t>(cells.places.size()), lanes)), -1);
      cells.first_block.push_back(static_cast<int64_t>(cells.places.size()) / lanes);
    }
  }
  const auto lists = static_cast<int64_t>(cells.sizes.size());
  cells.centres.resize(static_cast<std::size_t>(lists * base.cols));
  move_centres(base, list_of, lists, cells.centres);
  return cells;
}

}  // namespace crinn::ann::detail
