// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "crinn/ann/metric.h"

#if defined(__CUDACC__)
#define CRINN_HOST_DEVICE __host__ __device__
#else
#define CRINN_HOST_DEVICE
#endif

namespace crinn::ann {

namespace detail {

/// Sum over i of term(i, acc) in eight interleaved lanes, then a fixed tree: one order everywhere,
/// so that CPU and GPU agree bit for bit.
template <class Real = double, class Term>
CRINN_HOST_DEVICE inline Real lane_sum(int64_t d, Term term) {
  Real lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  int64_t i = 0;
  for (; i + 8 <= d; i += 8) {
    for (int j = 0; j < 8; ++j) lane[j] = term(i + j, lane[j]);
  }
  for (int j = 0; j < 7; ++j) {  // of fixed length: lanes stay in registers
    if (i + j < d) lane[j] = term(i + j, lane[j]);
  }
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace detail

/// <a, b> in fp64 with explicit fused multiply-adds.
CRINN_HOST_DEVICE inline double exact_dot(const float* a, const float* b, int64_t d) {
  return detail::lane_sum(d, [=](int64_t i, double acc) {
    return std::fma(static_cast<double>(a[i]), static_cast<double>(b[i]), acc);
  });
}

/// |a - b|^2 in fp64 with explicit fused multiply-adds.
CRINN_HOST_DEVICE inline double exact_l2(const float* a, const float* b, int64_t d) {
  return detail::lane_sum(d, [=](int64_t i, double acc) {
    const double diff = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    return std::fma(diff, diff, acc);
  });
}

/// The distance that defines truth: ground truth and recall use no other. a, b [d] raw vectors.
/// kL2: |a - b|^2; kInnerProduct: -<a, b>; kCosine: 2 - 2 <a, b> / sqrt(<a, a> <b, b>), where a
/// zero vector has cosine 0.
CRINN_HOST_DEVICE inline double exact_distance(const float* a, const float* b, int64_t d,
                                               Metric metric) {
  if (metric == Metric::kL2) return exact_l2(a, b, d);
  const double dot = exact_dot(a, b, d);
  if (metric == Metric::kInnerProduct) return -dot;
  const double norms = std::sqrt(exact_dot(a, a, d)) * std::sqrt(exact_dot(b, b, d));
  return norms > 0 ? 2.0 - 2.0 * (dot / norms) : 2.0;
}

}  // namespace crinn::ann
