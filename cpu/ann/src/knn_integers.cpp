// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/knn_integers.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>

#include "crinn/base/parallel.h"

namespace crinn::ann {
namespace {

/// Beyond it fp32 holds no odd number.
constexpr double kWhole = 0x1p24;

/// fp32 of int32 sums costs u, the bounds' evaluation less than 8u.
constexpr double kMargin = 16 * 0x1p-24;

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
  double magnitude() const { return std::max(std::fabs(low), std::fabs(high)); }
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

/// Writes x - offset and returns its sum and its square.
struct Sums {
  double sum = 0, square = 0;
};
Sums to_bytes(std::span<const float> x, double offset, int8_t* out) {
  int64_t sum = 0, square = 0;
  for (const float value : x) {
    const auto byte = static_cast<int8_t>(value - offset);
    *out++ = byte;
    sum += byte;
    square += int64_t{byte} * byte;
  }
  return {static_cast<double>(sum), static_cast<double>(square)};
}

}  // namespace

KnnIntegers::KnnIntegers(MatrixView<const float> base, MatrixView<const float> queries,
                         Metric metric, int threads)
    : base_(base), queries_(queries), metric_(metric) {
  const auto d = static_cast<double>(base.cols);
  Span of_base, of_queries;
  if (metric == Metric::kCosine) {
    reason_ = "unit vectors are not whole numbers";
  } else if (base.cols > kKnnIntegerDimensions) {
    reason_ = std::to_string(base.cols) + " dimensions could overflow 32 bits";
  } else if (!find_span(base, threads, of_base) || !find_span(queries, threads, of_queries)) {
    reason_ = "not all values are whole numbers";
  } else {
    if (metric == Metric::kL2) of_base.widen(of_queries), of_queries = of_base;
    if (!of_base.bytes() || !of_queries.bytes()) {
      reason_ = "whole numbers that span more than 256 values";
    } else if (of_base.magnitude() * of_queries.magnitude() * d >= 0x1p53) {
      reason_ = "whole numbers whose products fp64 does not sum exactly";
    } else {
      base_offset_ = of_base.offset();
      query_offset_ = of_queries.offset();
    }
  }
}

KnnRow KnnIntegers::base_row(int64_t i, int8_t* out) const {
  const Sums sums = to_bytes(base_.row_span(i), base_offset_, out);
  const double term = metric_ == Metric::kL2 ? sums.square / 2 : -query_offset_ * sums.sum;
  const double widened = kMargin * std::fabs(term);
  return {static_cast<float>(term - widened), static_cast<float>(term + widened),
          knn_round_up(std::sqrt(sums.square)), 0};
}

KnnQuery KnnIntegers::query_row(int64_t q, int8_t* out) const {
  const Sums sums = to_bytes(queries_.row_span(q), query_offset_, out);
  return {static_cast<float>(kMargin * std::sqrt(sums.square)), 0, 0};
}

}  // namespace crinn::ann
