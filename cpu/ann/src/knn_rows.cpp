// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/knn_rows.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>

#include "crinn/ann/knn_half.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {
namespace {

/// Beyond this many times the median norm a row does not count for the mean of an fp16 pass.
constexpr double kFarOff = 8;

/// 1 / |x| under kCosine (0 for a zero vector, whose cosine is 0), else 1.
double unit_of(const float* x, int64_t d, Metric metric) {
  if (metric != Metric::kCosine) return 1;
  const double norm = std::sqrt(exact_dot(x, x, d));
  return norm > 0 ? 1 / norm : 0;
}

/// The median of the positive norms: outliers do not move it.
double typical_norm(const std::vector<double>& norms) {
  std::vector<double> positive;
  std::copy_if(norms.begin(), norms.end(), std::back_inserter(positive),
               [](double norm) { return norm > 0; });
  if (positive.empty()) return 0;
  const auto middle = positive.begin() + static_cast<std::ptrdiff_t>(positive.size() / 2);
  std::nth_element(positive.begin(), middle, positive.end());
  return *middle;
}

/// Writes value(j), j < d, in fp16 and returns the norm of what rounding took away; NaN, and zeros
/// written, where fp16 does not hold a value.
template <class Value>
double round_to_half(int64_t d, const Value& value, uint16_t* out) {
  double sum = 0;
  for (int64_t j = 0; j < d; ++j) {
    const double exact = value(j);
    const auto narrow = static_cast<float>(exact);  // what is rounded again, and may round up
    if (!(std::fabs(narrow) < static_cast<float>(kHalfOverflow))) {
      std::fill_n(out, d, uint16_t{0});
      return std::numeric_limits<double>::quiet_NaN();
    }
    out[j] = half_bits(narrow);
    const double lost = exact - half_value(out[j]);
    sum = std::fma(lost, lost, sum);
  }
  return std::sqrt(sum) * (1 + 0x1p-30);  // roundings of this sum itself
}

}  // namespace

KnnRows::KnnRows(MatrixView<const float> base, MatrixView<const float> queries, Metric metric,
                 int threads, KnnFormat format)
    : base_(base),
      queries_(queries),
      metric_(metric),
      mean_(static_cast<std::size_t>(base.cols)),
      zero_(static_cast<std::size_t>(base.cols)) {
  const double all = std::numeric_limits<double>::infinity();
  find_mean(threads, all);
  const bool l2 = metric == Metric::kL2;
  double base_top = find_norms(base, mean_.data(), "base", threads, base_units_, base_norms_);
  // A few rows far off drag the mean away from all others, which fp16 feels: a mean without them.
  if (format == KnnFormat::kFp16) {
    const double longest = kFarOff * typical_norm(base_norms_);
    if (longest > 0 && base_top > longest) {
      find_mean(threads, longest);
      base_top = find_norms(base, mean_.data(), "base", threads, base_units_, base_norms_);
    }
  }
  const double query_top = find_norms(queries, l2 ? mean_.data() : zero_.data(), "queries", threads,
                                      query_units_, query_norms_);
  if (format == KnnFormat::kFp16) {
    top_exponent_ = kKnnHalfExponent;
    base_scale_ = knn_scale(typical_norm(base_norms_), top_exponent_);
  } else {
    base_scale_ = knn_scale(l2 ? std::max(base_top, query_top) : base_top);
  }
}

double KnnRows::query_scale(int64_t q) const {
  if (metric_ == Metric::kL2) return 2 * base_scale_;
  return knn_scale(query_norms_[static_cast<std::size_t>(q)], top_exponent_);
}

void KnnRows::find_mean(int threads, double longest) {
  const int64_t d = base_.cols;
  const auto counts = [&](int64_t i) {
    return base_norms_.empty() || base_norms_[static_cast<std::size_t>(i)] <= longest;
  };
  constexpr int64_t kRows = 4096;  // one partial sum each, added in order: no effect of threads
  const int64_t blocks = (base_.rows + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<std::size_t>(blocks * d));
  parallel_for(threads, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double* sum = sums.data() + block * d;
      for (int64_t i = block * kRows; i < std::min(base_.rows, (block + 1) * kRows); ++i) {
        if (!counts(i)) continue;
        const float* x = base_.row(i);
        const double unit = unit_of(x, d, metric_);
        for (int64_t j = 0; j < d; ++j) sum[j] += x[j] * unit;
      }
    }
  });
  int64_t rows = 0;
  for (int64_t i = 0; i < base_.rows; ++i) rows += counts(i);
  std::fill(mean_.begin(), mean_.end(), 0.0);
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t j = 0; j < d; ++j) {
      mean_[static_cast<std::size_t>(j)] += sums[static_cast<std::size_t>(block * d + j)];
    }
  }
  for (double& value : mean_) value /= static_cast<double>(rows);
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

int64_t KnnRows::base_beyond_half() const {
  return std::count_if(base_norms_.begin(), base_norms_.end(),
                       [&](double norm) { return norm * base_scale_ >= kHalfOverflow; });
}

int64_t KnnRows::queries_beyond_half() const {
  int64_t count = 0;
  for (int64_t q = 0; q < queries_.rows; ++q) count += query_norm(q) >= kHalfOverflow;
  return count;
}

double KnnRows::raw_norm(int64_t i) const {
  if (metric_ == Metric::kInnerProduct) {
    const float* x = base_.row(i);
    return std::sqrt(exact_dot(x, x, base_.cols)) * base_scale_;
  }
  return metric_ == Metric::kCosine ? base_scale_ : 0;  // of no use to kL2
}

KnnRow KnnRows::base_row(int64_t i, const KnnCertificate& certificate, float* out) const {
  const float* x = base_.row(i);
  const auto at = static_cast<std::size_t>(i);
  const double unit = base_units_.empty() ? 1 : base_units_[at];
  for (int64_t j = 0; j < base_.cols; ++j) {
    out[j] = knn_element(x[j], unit, mean_[static_cast<std::size_t>(j)], base_scale_);
  }
  return certificate.row(base_norms_[at] * base_scale_, raw_norm(i));
}

void KnnRows::query_row(int64_t q, float* out) const {
  const double* mean = metric_ == Metric::kL2 ? mean_.data() : zero_.data();
  const double unit = query_units_.empty() ? 1 : query_units_[static_cast<std::size_t>(q)];
  const double scale = query_scale(q);
  for (int64_t j = 0; j < queries_.cols; ++j) {
    out[j] = knn_element(queries_.row(q)[j], unit, mean[j], scale);
  }
}

KnnRow KnnRows::base_row(int64_t i, const KnnCertificate& certificate, uint16_t* out) const {
  const float* x = base_.row(i);
  const auto at = static_cast<std::size_t>(i);
  const double unit = base_units_.empty() ? 1 : base_units_[at];
  const double residual = round_to_half(
      base_.cols,
      [&](int64_t j) { return (x[j] * unit - mean_[static_cast<std::size_t>(j)]) * base_scale_; },
      out);
  if (std::isnan(residual)) return {NAN, NAN, 0, 0};
  return certificate.row(base_norms_[at] * base_scale_, raw_norm(i), residual);
}

KnnQuery KnnRows::query_row(int64_t q, const KnnCertificate& certificate, uint16_t* out) const {
  const float* x = queries_.row(q);
  const double* mean = metric_ == Metric::kL2 ? mean_.data() : zero_.data();
  const double unit = query_units_.empty() ? 1 : query_units_[static_cast<std::size_t>(q)];
  const double scale = query_scale(q);
  const double residual = round_to_half(
      queries_.cols, [&](int64_t j) { return (x[j] * unit - mean[j]) * scale; }, out);
  if (std::isnan(residual)) return {NAN, 0, 0};
  return certificate.query(query_norm(q), residual);
}

}  // namespace crinn::ann
