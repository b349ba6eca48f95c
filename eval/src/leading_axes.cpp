// SPDX-License-Identifier: Apache-2.0
#include "leading_axes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "crinn/ann/toolbox/projection.h"
#include "exact_knn_kernel.h"

namespace crinn::eval {
namespace {

using ann::KnnQuery;
using ann::KnnRow;
using ann::SerialGroup;
using knn::kPanel;
using knn::kQueryRows;
using knn::round_up;

constexpr int64_t kSample = 2048;  // rows of the base
constexpr int64_t kProbes = 32;    // queries
constexpr int64_t kMostAxes = 96;
constexpr uint64_t kSeed = 0x6b6e6e;

/// Axes are found by one thread in the time of so many products of d dimensions, times d: nobody
/// waits for them with less than ten times that to do.
constexpr double kFindingPairs = 2600;
constexpr double kLeastWork = 10;

/// Nor are they looked for in more dimensions than that takes.
constexpr int64_t kMostBytes = int64_t{128} << 20;

/// What selecting costs a pair, in multiplications.
constexpr double kSelecting = 8;

/// A pair that the axes do not exclude costs that many times its d multiplications: they are read
/// one by one, and selected.
constexpr double kSinglePair = 3;

/// The axes must promise to take less than this share of the plain pass.
constexpr double kWorthwhile = 0.75;

int64_t most_axes(int64_t d) { return std::min(kMostAxes, d / 2) / 8 * 8; }

/// Encoded rows spread over a matrix.
struct Sample {
  int64_t count = 0, stride = 0;
  HugeArray<float> values;  ///< [count, stride], zero-padded
  std::vector<KnnRow> rows;
  std::vector<KnnQuery> queries;
  float* row(int64_t i) { return values.data() + i * stride; }
};

Sample take(MatrixView<const float> from, int64_t most, const ann::KnnEncoder& encoder,
            bool queries) {
  Sample sample;
  sample.count = std::min(from.rows, most);
  sample.stride = knn::padded(from.cols);
  sample.values = HugeArray<float>(static_cast<std::size_t>(sample.count * sample.stride));
  for (int64_t i = 0; i < sample.count; ++i) {
    const float* x = from.row(i * from.rows / sample.count);
    auto* to = reinterpret_cast<uint8_t*>(sample.row(i));
    if (queries) {
      sample.queries.push_back(encoder.query_row(SerialGroup{}, x, to));
    } else {
      sample.rows.push_back(encoder.base_row(SerialGroup{}, x, to));
    }
  }
  return sample;
}

/// Axes [count, d] of encoded rows, whose squares may be beyond fp32.
std::vector<float> leading(Sample& sample, int64_t d, int64_t count) {
  double largest = 0;
  for (const KnnRow& row : sample.rows) largest = std::max(largest, norm_above(row));
  const double scale = ann::knn_scale(largest, 0);
  std::vector<float> small(static_cast<std::size_t>(sample.count * d));
  for (int64_t i = 0; i < sample.count; ++i) {
    for (int64_t j = 0; j < d; ++j) {
      small[static_cast<std::size_t>(i * d + j)] = static_cast<float>(sample.row(i)[j] * scale);
    }
  }
  const std::vector<float> covariance = ann::detail::covariance({small.data(), sample.count, d});
  return ann::detail::principal_components(covariance, d, count, kSeed);
}

/// project() of all of a sample: [panels, out_rows, kPanel].
HugeArray<float> project_all(Sample& sample, int64_t d, const LeadingAxes& axes) {
  const int64_t panels = (sample.count + kPanel - 1) / kPanel;
  HugeArray<float> out(static_cast<std::size_t>(panels * axes.out_rows() * kPanel));
  HugeArray<float> panel(static_cast<std::size_t>(d * kPanel));
  for (int64_t p = 0; p < panels; ++p) {
    std::array<double, kPanel> norms{};
    for (int64_t j = 0; j < kPanel; ++j) {
      const int64_t at = p * kPanel + j;
      if (at < sample.count) {
        norms[static_cast<std::size_t>(j)] =
            sample.rows.empty() ? norm_above(sample.queries[static_cast<std::size_t>(at)])
                                : norm_above(sample.rows[static_cast<std::size_t>(at)]);
      }
    }
    knn::transpose(sample.row(p * kPanel), sample.stride,
                   std::min<int64_t>(kPanel, sample.count - p * kPanel), d, panel.data());
    axes.project(panel.data(), norms.data(), out.data() + p * axes.out_rows() * kPanel);
  }
  return out;
}

/// A probe's thresholds on g as a search goes on, the loosest first, and the share of its rows that
/// meets each. While the first m rows are searched, the k-th of m is the threshold.
struct Course {
  std::vector<float> thresholds;
  std::vector<double> shares;
};

/// The share of pairs that `h` axes do not exclude in the course of a search, for h = 8, 16, ... up
/// to those that there are.
std::vector<double> shares_kept(Sample& base, Sample& probes, const std::vector<Course>& courses,
                                int64_t d, const LeadingAxes& axes) {
  const HugeArray<float> rows = project_all(base, d, axes), queries = project_all(probes, d, axes);
  const int64_t steps = axes.count() / 8, size = axes.out_rows() * kPanel;
  std::vector<double> kept(static_cast<std::size_t>(steps));
  for (int64_t q = 0; q < probes.count; ++q) {
    const float* query = queries.data() + q / kPanel * size + q % kPanel;
    const KnnQuery& terms = probes.queries[static_cast<std::size_t>(q)];
    const double query_norm = norm_above(terms), slope = axes.slope(terms);
    for (int64_t p = 0; p * kPanel < base.count; ++p) {
      std::array<double, kPanel> product{}, square{};
      double query_square = 0;
      for (int64_t step = 0; step < steps; ++step) {
        for (int64_t i = step * 8; i < step * 8 + 8; ++i) {
          const double left = query[i * kPanel];
          query_square += left * left;
          const float* right = rows.data() + p * size + i * kPanel;
          for (std::size_t j = 0; j < kPanel; ++j) {
            product[j] += left * right[j];
            square[j] += static_cast<double>(right[j]) * right[j];
          }
        }
        const double tail = std::max(axes.whole() * query_norm * query_norm - query_square, 0.0);
        for (int64_t j = 0; j < std::min<int64_t>(kPanel, base.count - p * kPanel); ++j) {
          const KnnRow& row = base.rows[static_cast<std::size_t>(p * kPanel + j)];
          const double norm = norm_above(row),
                       left = std::max(
                           axes.whole() * norm * norm - square[static_cast<std::size_t>(j)], 0.0);
          const double bound =
              product[static_cast<std::size_t>(j)] + std::sqrt(tail * left) + slope * row.weight;
          const Course& course = courses[static_cast<std::size_t>(q)];
          for (std::size_t i = 0; i < course.thresholds.size(); ++i) {
            if (row.low - bound > course.thresholds[i]) break;
            kept[static_cast<std::size_t>(step)] += course.shares[i];
          }
        }
      }
    }
  }
  for (double& share : kept) share /= static_cast<double>(base.count * probes.count);
  return kept;
}

std::vector<Course> courses_of(Sample& base, Sample& probes, int64_t n, int64_t k) {
  std::vector<Course> courses;
  std::vector<float> g(static_cast<std::size_t>(base.count));
  for (int64_t q = 0; q < probes.count; ++q) {
    for (int64_t i = 0; i < base.count; ++i) {
      g[static_cast<std::size_t>(i)] =
          base.rows[static_cast<std::size_t>(i)].high -
          knn::product<knn::kWidth>(probes.row(q), base.row(i), base.stride);
    }
    std::sort(g.begin(), g.end());
    Course course;
    const int64_t least = std::min(k, n);
    const auto share = [n](int64_t rows) {
      return static_cast<double>(rows) / static_cast<double>(n);
    };
    course.thresholds.push_back(std::numeric_limits<float>::infinity());
    course.shares.push_back(share(least));
    // Rows [m, 2 m) meet about the k-th of 1.5 m.
    for (int64_t m = least; m < n; m *= 2) {
      const int64_t rank = std::clamp<int64_t>(2 * k * base.count / (3 * m), 1, base.count);
      course.thresholds.push_back(g[static_cast<std::size_t>(rank - 1)]);
      course.shares.push_back(share(std::min(m, n - m)));
    }
    courses.push_back(std::move(course));
  }
  return courses;
}

}  // namespace

double norm_above(const KnnRow& row) { return row.weight * (1 + 0x1p-23); }
double norm_above(const KnnQuery& query) { return query.reach; }

LeadingAxes::LeadingAxes(const std::vector<float>& axes, int64_t count,
                         const ann::KnnEncoder& encoder)
    : d_(encoder.d) {
  // The norm of P P^T is at most its largest sum of a row.
  double most = 0;
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < count; ++j) {
      sum += std::fabs(ann::exact_dot(axes.data() + i * d_, axes.data() + j * d_, d_));
    }
    most = std::max(most, sum);
    if (!std::isfinite(sum)) return;
  }
  if (!(most > 0 && most < 1.5)) return;
  count_ = count;
  const double by = 1 / (std::sqrt(most) * (1 + 0x1p-18));  // 2^-18: rounding to fp32
  tiles_ = HugeArray<float>(static_cast<std::size_t>(round_up(count, kQueryRows) * d_));
  for (int64_t i = 0; i < count; ++i) {
    float* tile = tiles_.data() + i / kQueryRows * kQueryRows * d_ + i % kQueryRows;
    for (int64_t j = 0; j < d_; ++j) {
      tile[j * kQueryRows] = static_cast<float>(axes[static_cast<std::size_t>(i * d_ + j)] * by);
    }
  }
  const double u = 0x1p-24;
  const auto gamma = [=](int64_t depth) {
    const double chain = static_cast<double>(knn::chain(depth)) * u;
    return chain / (1 - chain);
  };
  error_ = std::sqrt(static_cast<double>(count)) * gamma(d_) + 2 * u;
  c1_ = std::max(encoder.certificate.c1, 1.01 * (gamma(count + 1) * (1 + 3 * error_) + 2 * error_ +
                                                 3 * error_ * error_ + 8 * u));
}

int64_t LeadingAxes::out_rows() const { return std::max(round_up(count_, kQueryRows), count_ + 1); }

void LeadingAxes::project(const float* panel, const double* norms, float* out) const {
  for (int64_t slice = 0; slice < d_; slice += knn::kDepth) {
    for (int64_t i = 0; i < count_; i += kQueryRows) {
      knn::product_slice(tiles_.data() + i * d_, panel, d_, slice, out + i * kPanel);
    }
  }
  std::array<double, kPanel> squares{};
  for (int64_t i = 0; i < count_; ++i) {
    for (std::size_t j = 0; j < kPanel; ++j) {
      const double value = out[i * kPanel + static_cast<int64_t>(j)];
      squares[j] += value * value;
    }
  }
  for (std::size_t j = 0; j < kPanel; ++j) {
    const double left = std::max(whole() * norms[j] * norms[j] - squares[j], 0.0);
    out[count_ * kPanel + static_cast<int64_t>(j)] =
        ann::knn_round_up(std::sqrt(left) * (1 + 1e-12));
  }
}

float LeadingAxes::slope(const KnnQuery& query) const {
  return ann::knn_round_up(c1_ * norm_above(query));
}

LeadingAxes make_leading_axes(MatrixView<const float> base, const ann::KnnEncoder& encoder,
                              int64_t count) {
  Sample sample = take(base, kSample, encoder, false);
  return {leading(sample, base.cols, count), count, encoder};
}

LeadingAxes choose_leading_axes(MatrixView<const float> base, MatrixView<const float> queries,
                                const ann::KnnEncoder& encoder, int64_t k, int threads) {
  const int64_t d = base.cols, most = most_axes(d);
  LeadingAxes none(d);
  const auto pairs = static_cast<double>(base.rows) * static_cast<double>(queries.rows);
  if (most < 8 || base.rows < 2 * kSample || leading_axes_bytes(d) > kMostBytes) {
    return none;
  }
  if (pairs < kLeastWork * kFindingPairs * static_cast<double>(d) * threads) return none;
  Sample rows = take(base, kSample, encoder, false);
  Sample probes = take(queries, kProbes, encoder, true);
  std::vector<float> axes = leading(rows, d, most);
  const LeadingAxes all(axes, most, encoder);
  if (all.count() == 0) return none;
  const std::vector<double> kept =
      shares_kept(rows, probes, courses_of(rows, probes, base.rows, k), d, all);
  int64_t best = 0;
  auto least = static_cast<double>(d);
  for (std::size_t step = 0; step < kept.size(); ++step) {
    const auto h = static_cast<double>(8 * (step + 1));
    // A pair's multiplications: of the bound, of what it does not exclude, of a row's projection.
    const double cost = h + 1 + kSelecting + kSinglePair * static_cast<double>(d) * kept[step] +
                        h * static_cast<double>(d) / static_cast<double>(queries.rows);
    if (cost < least) {
      least = cost;
      best = static_cast<int64_t>(8 * (step + 1));
    }
  }
  if (best == 0 || least > kWorthwhile * static_cast<double>(d)) return none;
  axes.resize(static_cast<std::size_t>(best * d));
  return {axes, best, encoder};
}

int64_t leading_axes_bytes(int64_t d) {
  const int64_t most = most_axes(d) + kPanel;
  return ((kSample + kProbes) * (2 * d + 4 * knn::kWidth + most) + 2 * d * d + 4 * most * d) *
         int64_t{sizeof(float)};
}

}  // namespace crinn::eval
