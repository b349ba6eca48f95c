// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/knn_rows.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {
namespace {

/// 1 / |x| under kCosine (0 for a zero vector, whose cosine is 0), else 1.
double unit_of(const float* x, int64_t d, Metric metric) {
  if (metric != Metric::kCosine) return 1;
  const double norm = std::sqrt(exact_dot(x, x, d));
  return norm > 0 ? 1 / norm : 0;
}

}  // namespace

KnnRows::KnnRows(MatrixView<const float> base, MatrixView<const float> queries, Metric metric,
                 int threads)
    : base_(base),
      queries_(queries),
      metric_(metric),
      mean_(static_cast<std::size_t>(base.cols)),
      zero_(static_cast<std::size_t>(base.cols)) {
  find_mean(threads);
  const bool l2 = metric == Metric::kL2;
  const double base_top = find_norms(base, mean_.data(), "base", threads, base_units_, base_norms_);
  const double query_top = find_norms(queries, l2 ? mean_.data() : zero_.data(), "queries", threads,
                                      query_units_, query_norms_);
  if (l2) {
    base_scale_ = knn_scale(std::max(base_top, query_top));
    query_scale_ = 2 * base_scale_;
  } else {
    base_scale_ = knn_scale(base_top);
    query_scale_ = knn_scale(query_top);
  }
}

void KnnRows::find_mean(int threads) {
  const int64_t d = base_.cols;
  constexpr int64_t kRows = 4096;  // one partial sum each, added in order: no effect of threads
  const int64_t blocks = (base_.rows + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<std::size_t>(blocks * d));
  parallel_for(threads, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double* sum = sums.data() + block * d;
      for (int64_t i = block * kRows; i < std::min(base_.rows, (block + 1) * kRows); ++i) {
        const float* x = base_.row(i);
        const double unit = unit_of(x, d, metric_);
        for (int64_t j = 0; j < d; ++j) sum[j] += x[j] * unit;
      }
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t j = 0; j < d; ++j) {
      mean_[static_cast<std::size_t>(j)] += sums[static_cast<std::size_t>(block * d + j)];
    }
  }
  for (double& value : mean_) value /= static_cast<double>(base_.rows);
}

double KnnRows::find_norms(MatrixView<const float> rows, const double* mean, const char* what,
                           int threads, std::vector<double>& units,
                           std::vector<double>& norms) const {
  if (metric_ == Metric::kCosine) units.resize(static_cast<std::size_t>(rows.rows));
  norms.resize(static_cast<std::size_t>(rows.rows));
  parallel_for(threads, rows.rows, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = rows.row(i);
      const double unit = unit_of(x, rows.cols, metric_);
      if (!units.empty()) units[static_cast<std::size_t>(i)] = unit;
      norms[static_cast<std::size_t>(i)] =
          std::sqrt(detail::lane_sum(rows.cols, [&](int64_t j, double acc) {
            const double value = x[j] * unit - mean[j];
            return std::fma(value, value, acc);
          }));
    }
  });
  double top = 0;
  for (int64_t i = 0; i < rows.rows; ++i) {
    const double norm = norms[static_cast<std::size_t>(i)];
    if (std::isfinite(norm)) {
      top = std::max(top, norm);
      continue;
    }
    for (int64_t j = 0; j < rows.cols; ++j) {
      if (!std::isfinite(rows.row(i)[j])) {
        throw Error(ErrorCategory::kUsage, std::string("exact_knn: ") + what + " row " +
                                               std::to_string(i) + " holds " +
                                               std::to_string(rows.row(i)[j]));
      }
    }
  }
  return top;
}

KnnRow KnnRows::base_row(int64_t i, const KnnCertificate& certificate, float* out) const {
  const float* x = base_.row(i);
  const auto at = static_cast<std::size_t>(i);
  const double unit = base_units_.empty() ? 1 : base_units_[at];
  for (int64_t j = 0; j < base_.cols; ++j) {
    out[j] = knn_element(x[j], unit, mean_[static_cast<std::size_t>(j)], base_scale_);
  }
  double raw_norm = 0;  // of no use to kL2
  if (metric_ == Metric::kInnerProduct) raw_norm = std::sqrt(exact_dot(x, x, base_.cols));
  if (metric_ == Metric::kCosine) raw_norm = 1;
  return certificate.row(base_norms_[at] * base_scale_, raw_norm * base_scale_);
}

void KnnRows::query_row(int64_t q, float* out) const {
  const double* mean = metric_ == Metric::kL2 ? mean_.data() : zero_.data();
  const double unit = query_units_.empty() ? 1 : query_units_[static_cast<std::size_t>(q)];
  for (int64_t j = 0; j < queries_.cols; ++j) {
    out[j] = knn_element(queries_.row(q)[j], unit, mean[j], query_scale_);
  }
}

}  // namespace crinn::ann
