// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "crinn/ann/knn_certificate.h"
#include "crinn/ann/knn_half.h"
#include "crinn/ann/metric.h"

/// Rows of raw fp32 vectors to rows of a pass, on host and device. A row is encoded by a group of
/// threads {rank, size, sum(double), any(bool)} that all get the same result; the bounds hold
/// whatever the order in which a group adds.
namespace crinn::ann {

/// What a pass reads. kInteger: signed bytes.
enum class KnnFormat { kFp32, kFp16, kInteger };

/// One thread as a group.
struct SerialGroup {
  static constexpr int rank = 0, size = 1;
  CRINN_HOST_DEVICE double sum(double value) const { return value; }
  CRINN_HOST_DEVICE bool any(bool value) const { return value; }
};

/// A base row that the pass does not hold, and one that holds NaN or Inf: of both, low is NaN.
CRINN_HOST_DEVICE inline KnnRow knn_row_not_held() { return {NAN, NAN, 0, 0}; }
CRINN_HOST_DEVICE inline KnnRow knn_row_not_finite() { return {NAN, NAN, NAN, 0}; }
CRINN_HOST_DEVICE inline bool is_held(const KnnRow& row) { return row.low == row.low; }
CRINN_HOST_DEVICE inline bool is_finite(const KnnRow& row) { return row.weight == row.weight; }

/// Likewise a query, whose slope is NaN.
CRINN_HOST_DEVICE inline KnnQuery knn_query_not_held() { return {NAN, 0, 0}; }
CRINN_HOST_DEVICE inline KnnQuery knn_query_not_finite() { return {NAN, NAN, 0}; }
CRINN_HOST_DEVICE inline bool is_held(const KnnQuery& query) { return query.slope == query.slope; }
CRINN_HOST_DEVICE inline bool is_finite(const KnnQuery& query) {
  return query.reach == query.reach;
}

namespace detail {

/// Sum over the group's elements of term(j, acc), j < d.
template <class Group, class Term>
CRINN_HOST_DEVICE double sum_over(const Group& group, int64_t d, const Term& term) {
  const int64_t mine = (d - group.rank + group.size - 1) / group.size;
  return group.sum(lane_sum(
      mine, [&](int64_t i, double acc) { return term(group.rank + i * group.size, acc); }));
}

}  // namespace detail

/// |x unit - centre|; `centre` may be null. Not finite where x is not.
template <class Group>
CRINN_HOST_DEVICE double knn_norm(const Group& group, const float* x, int64_t d, double unit,
                                  const double* centre) {
  return std::sqrt(detail::sum_over(group, d, [=](int64_t j, double acc) {
    const double value = x[j] * unit - (centre ? centre[j] : 0);
    return std::fma(value, value, acc);
  }));
}

/// 1 / |x| under kCosine (0 for a zero vector, whose cosine is 0), else 1.
template <class Group>
CRINN_HOST_DEVICE double knn_unit(const Group& group, const float* x, int64_t d, Metric metric) {
  if (metric != Metric::kCosine) return 1;
  const double norm = knn_norm(group, x, d, 1, nullptr);
  return norm > 0 ? 1 / norm : 0;
}

/// How the rows of one search are encoded; passed to kernels by value. See knn_certificate.h for
/// the formulas of kFp32 and kFp16. kInteger: rows of whole numbers within 256 values become x' = x
/// - o. Products of bytes and their sums in int32 are exact, so the bounds are as tight as fp32
/// writes them:
///   kL2:            |q - x|^2 / 2 = |x'|^2 / 2 - <q', x'> + constant,  one offset for both sides;
///   kInnerProduct:  -<q, x> = -p sum(x') - <q', x'> + constant,  q' = q - p, offsets o and p.
struct KnnEncoder {
  KnnFormat format = KnnFormat::kFp32;
  KnnCertificate certificate;  ///< not of kInteger, but for its metric
  int64_t d = 0;
  int64_t row_bytes = 0;         ///< of an encoded row; what lies beyond the dimensions is zero
  const double* mean = nullptr;  ///< [d], in the memory of whoever encodes; not of kInteger
  double scale = 1;              ///< s; not of kInteger
  double base_offset = 0, query_offset = 0;  ///< of kInteger

  Metric metric() const { return certificate.metric; }

  /// Encodes x [d] to out [row_bytes] and returns the terms of its bounds. A row that the format
  /// does not hold becomes zero: one far beyond those that the scale was chosen by, or one that is
  /// not within the bytes.
  template <class Group>
  CRINN_HOST_DEVICE KnnRow base_row(const Group& group, const float* x, uint8_t* out) const {
    if (format == KnnFormat::kInteger) {
      const Bytes bytes = to_bytes(group, x, base_offset, out);
      if (!bytes.finite) return knn_row_not_finite();
      if (!bytes.held) return knn_row_not_held();
      const bool l2 = certificate.metric == Metric::kL2;
      const double term = l2 ? bytes.square / 2 : -query_offset * bytes.sum;
      const double widened = kIntegerMargin * std::fabs(term);
      return {static_cast<float>(term - widened), static_cast<float>(term + widened),
              knn_round_up(std::sqrt(bytes.square)), 0};
    }
    const double unit = knn_unit(group, x, d, certificate.metric);
    const double norm = knn_norm(group, x, d, unit, mean);
    const bool finite = norm <= DBL_MAX;
    const double residual = write(group, x, unit, mean, finite ? scale : 0, norm * scale, out);
    if (!finite) return knn_row_not_finite();
    if (residual != residual) return knn_row_not_held();
    double raw = 0;  // of no use to kL2
    if (certificate.metric == Metric::kInnerProduct)
      raw = knn_norm(group, x, d, 1, nullptr) * scale;
    if (certificate.metric == Metric::kCosine) raw = scale;
    return certificate.row(norm * scale, raw, residual);
  }

  template <class Group>
  CRINN_HOST_DEVICE KnnQuery query_row(const Group& group, const float* x, uint8_t* out) const {
    if (format == KnnFormat::kInteger) {
      const Bytes bytes = to_bytes(group, x, query_offset, out);
      if (!bytes.finite) return knn_query_not_finite();
      if (!bytes.held) return knn_query_not_held();
      return {static_cast<float>(kIntegerMargin * std::sqrt(bytes.square)), 0, 0};
    }
    const double* const centre = certificate.metric == Metric::kL2 ? mean : nullptr;
    const double unit = knn_unit(group, x, d, certificate.metric);
    const double norm = knn_norm(group, x, d, unit, centre);
    const bool finite = norm <= DBL_MAX;
    const double by = finite ? query_scale(norm) : 0;
    const double residual = write(group, x, unit, centre, by, norm * by, out);
    if (!finite) return knn_query_not_finite();
    if (residual != residual) return knn_query_not_held();
    return certificate.query(norm * by, residual);
  }

  /// 2 s under kL2, else s' of a query of that norm, |q| (1 under kCosine).
  CRINN_HOST_DEVICE double query_scale(double norm) const {
    if (certificate.metric == Metric::kL2) return 2 * scale;
    return knn_scale(norm, format == KnnFormat::kFp16 ? kKnnHalfExponent : kKnnTopExponent);
  }

 private:
  /// fp32 of int32 sums costs u, the bounds' evaluation less than 8u.
  static constexpr double kIntegerMargin = 16 * 0x1p-24;

  /// Writes (x unit - centre) by, and returns the norm of what rounding took away, as far as the
  /// certificate does not cover it; NaN, and zeros written, where the format does not hold the row,
  /// whose norm is `norm`.
  template <class Group>
  CRINN_HOST_DEVICE double write(const Group& group, const float* x, double unit,
                                 const double* centre, double by, double norm, uint8_t* out) const {
    const auto value = [=](int64_t j) { return (x[j] * unit - (centre ? centre[j] : 0)) * by; };
    if (format == KnnFormat::kFp32) {
      const bool held = norm <= 0x1p61;
      auto* const to = reinterpret_cast<float*>(out);
      for (int64_t j = group.rank; j < d; j += group.size) {
        to[j] = held ? knn_element(x[j], unit, centre ? centre[j] : 0, by) : 0;
      }
      return held ? 0 : NAN;
    }
    auto* const to = reinterpret_cast<uint16_t*>(out);
    bool beyond = false;
    const double square = detail::sum_over(group, d, [&](int64_t j, double acc) {
      const double exact = value(j);
      const auto narrow = static_cast<float>(exact);  // what is rounded again, and may round up
      if (!(std::fabs(narrow) < static_cast<float>(kHalfOverflow))) {
        beyond = true;
        return acc;
      }
      to[j] = half_bits(narrow);
      const double lost = exact - half_value(to[j]);
      return std::fma(lost, lost, acc);
    });
    beyond = group.any(beyond);
    for (int64_t j = group.rank; j < row_bytes / 2; j += group.size) {
      if (beyond || j >= d) to[j] = 0;
    }
    return beyond ? NAN : std::sqrt(square) * (1 + 0x1p-30);  // roundings of this sum itself
  }

  struct Bytes {
    bool finite, held;
    double sum, square;
  };

  template <class Group>
  CRINN_HOST_DEVICE Bytes to_bytes(const Group& group, const float* x, double offset,
                                   uint8_t* out) const {
    auto* const to = reinterpret_cast<int8_t*>(out);
    bool finite = true, held = true;
    double sum = 0, square = 0;  // exact: whole numbers below 2^53
    for (int64_t j = group.rank; j < row_bytes; j += group.size) {
      const double value = j < d ? x[j] - offset : 0;
      finite = finite && value - value == 0;
      held = held && value >= -128 && value <= 127 && value == std::floor(value);
      to[j] = held ? static_cast<int8_t>(value) : int8_t{0};
      sum += to[j];
      square += static_cast<double>(to[j]) * to[j];
    }
    finite = !group.any(!finite);
    held = !group.any(!held);
    sum = group.sum(sum);
    square = group.sum(square);
    if (!held) {
      for (int64_t j = group.rank; j < row_bytes; j += group.size) to[j] = 0;
    }
    return {finite, held, sum, square};
  }
};

}  // namespace crinn::ann
