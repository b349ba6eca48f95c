// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "crinn/ann/metric.h"
#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/ann/toolbox/projection.h"
#include "crinn/ann/toolbox/quantize.h"
#include "crinn/base/matrix_view.h"

/// What all code tables share. A code table holds one record a base vector, aligned to cache lines,
/// and estimates the distance from a prepared query to a record.
namespace crinn::ann {

/// How vectors become codes. Tables of plain floats and of exact integers use `threads` alone.
struct CodeParams {
  ProjectionKind projection = ProjectionKind::kNone;
  int dims = 0;  ///< kept by the projection; 0: all
  QueryPrecision precision = QueryPrecision::kFp32;
  float input_loss = 0;  ///< what reading fewer of a query's values may lose (see Projection)
  ScaleRule scale = ScaleRule::kGlobal;
  float quantile = 0;  ///< of the values that the codes span; 0: what suits the bits
  uint64_t seed = 0;
  int threads = 1;
};

/// make_query() allocates; prepare() does not. distance() is the metric's distance, smaller is
/// nearer: squared L2 (also under kCosine), minus the inner product. It is exact up to fp32
/// rounding when kExact, else an estimate that may be slightly negative. between() compares two
/// records. A table is immutable after its constructor; a query belongs to one thread.
template <class T>
concept CodeTable = std::constructible_from < T,
        MatrixView<const float>, Metric,
const CodeParams& >
    &&requires(const T& table, typename T::Query& query, const float* q, int64_t id) {
  { T::kName } -> std::convertible_to<const char*>;
  { T::kExact } -> std::convertible_to<bool>;
  { table.make_query() } -> std::same_as<typename T::Query>;
  table.prepare(q, query);
  { table.distance(query, id) } -> std::same_as<float>;
  { table.between(id, id) } -> std::same_as<float>;
  table.prefetch(id);
  { table.size() } -> std::same_as<int64_t>;
  { table.bytes() } -> std::same_as<std::size_t>;
};

/// out[i] = distance to ids[i], with the records of the next `ahead` on their way.
template <CodeTable T>
inline void distances(const T& table, const typename T::Query& query, const int32_t* ids, int count,
                      float* out, int ahead = 4) {
  for (int i = 0; i < count && i < ahead; ++i) table.prefetch(ids[i]);
  int i = 0;
  if constexpr (requires { table.distance4(query, ids, out); }) {
    for (; i + 4 <= count; i += 4) {
      for (int j = i + ahead; j < i + ahead + 4 && j < count; ++j) table.prefetch(ids[j]);
      table.distance4(query, ids + i, out + i);
    }
  }
  for (; i < count; ++i) {
    if (i + ahead < count) table.prefetch(ids[i + ahead]);
    out[i] = table.distance(query, ids[i]);
  }
}

/// Scores candidates anew by `table`, four at a time where it can, with the records of the next
/// `ahead` on their way (0: they have been fetched before).
template <CodeTable T>
inline void rescore(const T& table, const typename T::Query& query, std::span<Candidate> candidates,
                    std::size_t ahead) {
  const std::size_t count = candidates.size();
  const auto fetch = [&](std::size_t from, std::size_t to) {
    for (std::size_t j = from; j < to && j < count; ++j) table.prefetch(candidates[j].id);
  };
  fetch(0, ahead);
  std::size_t i = 0;
  if constexpr (requires(const int32_t* ids, float* out) { table.distance4(query, ids, out); }) {
    for (; i + 4 <= count; i += 4) {
      if (ahead > 0) fetch(i + ahead, i + ahead + 4);
      int32_t ids[4];
      float estimates[4];
      for (std::size_t j = 0; j < 4; ++j) ids[j] = candidates[i + j].id;
      table.distance4(query, ids, estimates);
      for (std::size_t j = 0; j < 4; ++j) candidates[i + j].estimate = estimates[j];
    }
  }
  for (; i < count; ++i) {
    if (ahead > 0) fetch(i + ahead, i + ahead + 1);
    candidates[i].estimate = table.distance(query, candidates[i].id);
  }
}

}  // namespace crinn::ann
