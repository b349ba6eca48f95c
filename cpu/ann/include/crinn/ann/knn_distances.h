// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// How distances are computed that are handed out in fp32. kFp32: in fp32, in one fixed order with
/// explicit fused multiply-adds; kExact: exact_distance, rounded once.
enum class Precision { kFp32, kExact };

namespace detail {

CRINN_HOST_DEVICE inline float fp32_dot(const float* a, const float* b, int64_t d) {
  return lane_sum<float>(d, [=](int64_t i, float acc) { return std::fma(a[i], b[i], acc); });
}

}  // namespace detail

/// exact_distance()'s formulas in fp32: the same bits on CPU and GPU. a, b [d].
CRINN_HOST_DEVICE inline float fp32_distance(const float* a, const float* b, int64_t d,
                                             Metric metric) {
  if (metric == Metric::kL2) {
    return detail::lane_sum<float>(d, [=](int64_t i, float acc) {
      const float diff = a[i] - b[i];
      return std::fma(diff, diff, acc);
    });
  }
  const float dot = detail::fp32_dot(a, b, d);
  if (metric == Metric::kInnerProduct) return -dot;
  const float norms = std::sqrt(detail::fp32_dot(a, a, d)) * std::sqrt(detail::fp32_dot(b, b, d));
  return norms > 0 ? 2.0f - 2.0f * (dot / norms) : 2.0f;
}

/// One distance in fp32.
CRINN_HOST_DEVICE inline float distance_in(Precision precision, const float* a, const float* b,
                                           int64_t d, Metric metric) {
  return precision == Precision::kExact ? static_cast<float>(exact_distance(a, b, d, metric))
                                        : fp32_distance(a, b, d, metric);
}

/// Throws Error (usage) where the matrices' dimensions differ, or an id of `ids` [queries, k] is
/// beyond the base; the message begins with `operation`. `ids` may be empty.
void check_distances(MatrixView<const float> queries, MatrixView<const float> base,
                     std::span<const int64_t> ids, int64_t k, const char* operation);

/// Distances of all pairs [nq, n] from queries [nq, d] and base [n, d]. Throws Error (usage).
std::vector<float> pairwise_distances(MatrixView<const float> queries, MatrixView<const float> base,
                                      Metric metric, Precision precision, int threads);

/// Exact distances [nq, k] of query i to the base rows that ids [nq, k] names; +inf where an id is
/// below 0. Throws Error (usage) that names an id beyond the base.
std::vector<double> gathered_distances(MatrixView<const float> queries,
                                       MatrixView<const float> base, Metric metric,
                                       std::span<const int64_t> ids, int64_t k, int threads);

}  // namespace crinn::ann
