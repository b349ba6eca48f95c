// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/knn_frame.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {
namespace {

/// Beyond this many times the median norm a row does not count for the mean of an fp16 pass.
constexpr double kFarOff = 8;

/// Beyond it fp32 holds no odd number.
constexpr double kWhole = 0x1p24;

/// Encoded rows of tensor cores are multiples of this.
constexpr int64_t kStepBytes = 32;

int64_t padded(int64_t bytes) { return (bytes + kStepBytes - 1) / kStepBytes * kStepBytes; }

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

struct Mean {
  std::vector<double> of;  ///< [d]
  float largest = 0;       ///< |value| of the rows that count; not finite where one is not
};

/// The mean of the rows whose norm is at most `longest`; of all where `norms` is empty.
Mean mean_of(MatrixView<const float> rows, Metric metric, int threads,
             const std::vector<double>& norms, double longest) {
  const int64_t d = rows.cols;
  const auto counts = [&](int64_t i) {
    return norms.empty() || norms[static_cast<std::size_t>(i)] <= longest;
  };
  constexpr int64_t kRows = 4096;  // one partial sum each, added in order: no effect of threads
  const int64_t blocks = (rows.rows + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<std::size_t>(blocks * d));
  std::vector<uint32_t> largest(static_cast<std::size_t>(blocks));
  parallel_for(threads, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double* sum = sums.data() + block * d;
      for (int64_t i = block * kRows; i < std::min(rows.rows, (block + 1) * kRows); ++i) {
        if (!counts(i)) continue;
        const float* x = rows.row(i);
        const double unit = knn_unit(SerialGroup{}, x, d, metric);
        // As numbers, the bits of |value| are in the order of the values: compilers vectorise it.
        uint32_t bits = 0;
        for (int64_t j = 0; j < d; ++j) {
          sum[j] += x[j] * unit;
          bits = std::max(bits, std::bit_cast<uint32_t>(x[j]) & 0x7fffffff);
        }
        auto& most = largest[static_cast<std::size_t>(block)];
        most = std::max(most, bits);
      }
    }
  });
  int64_t counted = 0;
  for (int64_t i = 0; i < rows.rows; ++i) counted += counts(i);
  Mean mean{std::vector<double>(static_cast<std::size_t>(d)),
            std::bit_cast<float>(*std::max_element(largest.begin(), largest.end()))};
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t j = 0; j < d; ++j) {
      mean.of[static_cast<std::size_t>(j)] += sums[static_cast<std::size_t>(block * d + j)];
    }
  }
  for (double& value : mean.of) value /= static_cast<double>(counted);
  return mean;
}

/// |x u - mean| of all rows; `mean` may be null.
std::vector<double> norms_of(const KnnSample& sample, Metric metric, const double* mean,
                             const char* what, int threads) {
  const MatrixView<const float> rows = sample.rows;
  std::vector<double> norms(static_cast<std::size_t>(rows.rows));
  parallel_for(threads, rows.rows, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = rows.row(i);
      const double unit = knn_unit(SerialGroup{}, x, rows.cols, metric);
      norms[static_cast<std::size_t>(i)] = knn_norm(SerialGroup{}, x, rows.cols, unit, mean);
    }
  });
  for (int64_t i = 0; i < rows.rows; ++i) {
    if (std::isfinite(norms[static_cast<std::size_t>(i)])) continue;
    for (const float value : rows.row_span(i)) {
      if (!std::isfinite(value)) {
        throw Error(ErrorCategory::kUsage, std::string("exact_knn: ") + what + " row " +
                                               std::to_string(i * sample.step) + " holds " +
                                               std::to_string(value));
      }
    }
  }
  return norms;
}

double longest_of(const std::vector<double>& norms) {
  double longest = 0;
  for (const double norm : norms) {
    if (std::isfinite(norm)) longest = std::max(longest, norm);  // the mean may hold NaN
  }
  return longest;
}

/// At least |x u - mean| of rows whose values are at most `largest`, without another look at them.
double bound_of_norms(float largest, const std::vector<double>& mean, Metric metric) {
  double square = 0;
  for (const double value : mean) {
    const double each = largest + std::fabs(value);
    square += metric == Metric::kCosine ? value * value : each * each;
  }
  return metric == Metric::kCosine ? 1 + std::sqrt(square) : std::sqrt(square);
}

struct Span {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void widen(const Span& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
  bool bytes() const { return high - low <= 255; }
  /// Bytes that need no offset get none.
  double offset() const { return low >= -128 && high <= 127 ? 0 : low + 128; }
  /// Of all that the bytes can hold.
  double magnitude() const {
    return std::max(std::fabs(offset() - 128), std::fabs(offset() + 127));
  }
};

/// The values' span, or false where one is not a whole number of fp32's exact range.
bool find_span(MatrixView<const float> rows, int threads, Span& span) {
  std::mutex mutex;
  std::atomic<bool> whole{true};
  parallel_for(threads, rows.rows, 4096, [&](int64_t begin, int64_t end) {
    Span part;
    for (int64_t i = begin; i < end && whole; ++i) {
      for (const float value : rows.row_span(i)) {
        if (!(std::fabs(value) <= kWhole) || value != std::nearbyint(value)) {
          whole = false;
          return;
        }
        part.widen({value, value});
      }
    }
    const std::lock_guard lock(mutex);
    span.widen(part);
  });
  return whole;
}

}  // namespace

KnnFrame find_knn_frame(const KnnSample& base, const KnnSample& queries, Metric metric,
                        KnnFormat format, int threads) {
  const bool l2 = metric == Metric::kL2, fp16 = format == KnnFormat::kFp16;
  KnnFrame frame;
  const auto norms_of_queries = [&] {
    return norms_of(queries, metric, l2 ? frame.mean.data() : nullptr, "queries", threads);
  };
  Mean all = mean_of(base.rows, metric, threads, {}, 0);
  frame.mean = std::move(all.of);
  if (!fp16) {
    if (!std::isfinite(all.largest)) norms_of(base, metric, nullptr, "base", threads);  // throws
    // The bounds hold at any scale; what a sample does not show may be 2^30 times as long.
    constexpr int kRoomExponent = kKnnTopExponent - 30;
    const bool whole = base.step == 1 && queries.step == 1;
    const double longest = longest_of(norms_of_queries());
    const double top = bound_of_norms(all.largest, frame.mean, metric);
    frame.scale =
        knn_scale(l2 ? std::max(top, longest) : top, whole ? kKnnTopExponent : kRoomExponent);
    return frame;
  }
  std::vector<double> norms = norms_of(base, metric, frame.mean.data(), "base", threads);
  // A few rows far off drag the mean away from all others, which fp16 feels: a mean without them.
  const double near = kFarOff * typical_norm(norms);
  if (near > 0 && longest_of(norms) > near) {
    frame.mean = mean_of(base.rows, metric, threads, norms, near).of;
    norms = norms_of(base, metric, frame.mean.data(), "base", threads);
  }
  const std::vector<double> of_queries = norms_of_queries();
  frame.scale = knn_scale(typical_norm(norms), kKnnHalfExponent);
  const auto beyond = [](const std::vector<double>& of, double scale) {
    return std::count_if(of.begin(), of.end(),
                         [=](double norm) { return norm * scale >= kHalfOverflow; });
  };
  frame.base_beyond = beyond(norms, frame.scale);
  // Elsewhere each query has a scale of its own.
  if (l2) frame.queries_beyond = beyond(of_queries, 2 * frame.scale);
  return frame;
}

KnnBytes find_knn_bytes(const KnnSample& base, const KnnSample& queries, Metric metric,
                        int threads) {
  KnnBytes bytes;
  const int64_t d = base.rows.cols;
  Span of_base, of_queries;
  if (metric == Metric::kCosine) {
    bytes.reason = "unit vectors are not whole numbers";
  } else if (d > kKnnIntegerDimensions) {
    bytes.reason = std::to_string(d) + " dimensions could overflow 32 bits";
  } else if (!find_span(base.rows, threads, of_base) ||
             !find_span(queries.rows, threads, of_queries)) {
    bytes.reason = "not all values are whole numbers";
  } else {
    if (metric == Metric::kL2) of_base.widen(of_queries), of_queries = of_base;
    if (!of_base.bytes() || !of_queries.bytes()) {
      bytes.reason = "whole numbers that span more than 256 values";
    } else if (of_base.magnitude() * of_queries.magnitude() * static_cast<double>(d) >= 0x1p53) {
      bytes.reason = "whole numbers whose products fp64 does not sum exactly";
    } else {
      bytes.base_offset = of_base.offset();
      bytes.query_offset = of_queries.offset();
    }
  }
  return bytes;
}

KnnEncoder fp32_encoder(Metric metric, int64_t d, int64_t chain, const KnnFrame& frame) {
  KnnEncoder encoder;
  encoder.format = KnnFormat::kFp32;
  encoder.certificate = KnnCertificate(metric, d, chain);
  encoder.d = d;
  encoder.row_bytes = d * int64_t{sizeof(float)};
  encoder.scale = frame.scale;
  return encoder;
}

KnnEncoder fp16_encoder(Metric metric, int64_t d, const KnnFrame& frame) {
  KnnEncoder encoder;
  encoder.format = KnnFormat::kFp16;
  encoder.certificate = KnnCertificate::fp16(metric, d);
  encoder.d = d;
  encoder.row_bytes = padded(2 * d);
  encoder.scale = frame.scale;
  return encoder;
}

KnnEncoder integer_encoder(Metric metric, int64_t d, const KnnBytes& bytes) {
  KnnEncoder encoder;
  encoder.format = KnnFormat::kInteger;
  encoder.certificate.metric = metric;
  encoder.d = d;
  encoder.row_bytes = padded(d);
  encoder.base_offset = bytes.base_offset;
  encoder.query_offset = bytes.query_offset;
  return encoder;
}

}  // namespace crinn::ann
