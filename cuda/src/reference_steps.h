// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/knn_encode.h"
#include "crinn/gpu/knn.h"

/// What ReferenceSearch does for one place of one query: the bodies of its kernels, which tests run
/// on the host.
namespace crinn::gpu {

struct EncodeBase {
  ann::KnnEncoder encoder;
  const float* raw;    ///< [rows, d]
  float* encoded;      ///< [rows, d]
  ann::KnnRow* terms;  ///< [rows]
  CRINN_HOST_DEVICE void operator()(int64_t, int64_t i) const {
    terms[i] = encoder.base_row(ann::SerialGroup{}, raw + i * encoder.d,
                                reinterpret_cast<uint8_t*>(encoded + i * encoder.d));
  }
};

struct EncodeQueries {
  ann::KnnEncoder encoder;
  const float* raw;
  float* encoded;
  ann::KnnQuery* terms;
  CRINN_HOST_DEVICE void operator()(int64_t, int64_t i) const {
    terms[i] = encoder.query_row(ann::SerialGroup{}, raw + i * encoder.d,
                                 reinterpret_cast<uint8_t*>(encoded + i * encoder.d));
  }
};

/// The products of some queries with some consecutive rows, and what turns them into bounds.
struct BoundTile {
  const ann::KnnQuery* queries;  ///< [queries]
  const ann::KnnRow* terms;      ///< [rows]
  const float* products;         ///< [queries, rows]
  int64_t rows;
  int32_t first_id;
};

struct BoundRows {
  BoundTile tile;
  float* lower;  ///< [queries, rows]
  CRINN_HOST_DEVICE void operator()(int64_t q, int64_t i) const {
    const int64_t at = q * tile.rows + i;
    lower[at] = ann::knn_lower(tile.terms[i], tile.queries[q], tile.products[at]);
  }
};

/// Rows that were selected for each query, in no order.
struct SelectedRows {
  float* lower;  ///< [queries, count]
  float* upper;  ///< [queries, count]
  int32_t* ids;  ///< [queries, count]
  int64_t count;
};

/// What was kept of the tiles before, then what was picked of this one.
struct AppendRows {
  SelectedRows kept, out;
  BoundTile tile;
  const float* picked_lower;  ///< [queries, picked]
  const int32_t* picked_rows;
  int64_t picked;
  CRINN_HOST_DEVICE void operator()(int64_t q, int64_t j) const {
    const int64_t to = q * out.count + j;
    if (j < kept.count) {
      const int64_t from = q * kept.count + j;
      out.lower[to] = kept.lower[from];
      out.upper[to] = kept.upper[from];
      out.ids[to] = kept.ids[from];
      return;
    }
    const int64_t from = q * picked + j - kept.count;
    const int32_t row = picked_rows[from];
    out.lower[to] = picked_lower[from];
    out.upper[to] =
        ann::knn_upper(tile.terms[row], tile.queries[q], tile.products[q * tile.rows + row]);
    out.ids[to] = tile.first_id + row;
  }
};

/// out.count of the rows, by their places.
struct TakeRows {
  SelectedRows rows, out;
  const int32_t* places;  ///< [queries, out.count]
  CRINN_HOST_DEVICE void operator()(int64_t q, int64_t j) const {
    const int64_t to = q * out.count + j, from = q * rows.count + places[to];
    out.lower[to] = rows.lower[from];
    out.upper[to] = rows.upper[from];
    out.ids[to] = rows.ids[from];
  }
};

/// Exact distances to those of the selected rows that are in memory.
struct RankRows {
  SelectedRows selected;
  const float* thresholds;   ///< [queries]
  const float* raw_queries;  ///< [queries, d]
  const float* raw_base;     ///< [rows, d], from first_id on
  int32_t first_id, rows;
  int64_t d;
  ann::Metric metric;
  double* distances;  ///< [queries, selected.count]
  CRINN_HOST_DEVICE void operator()(int64_t q, int64_t j) const {
    const int64_t at = q * selected.count + j;
    const int32_t row = selected.ids[at] - first_id;
    if (row < 0 || row >= rows) return;  // another chunk's
    distances[at] = selected.lower[at] <= thresholds[q]
                        ? ann::exact_distance(raw_queries + q * d, raw_base + row * d, d, metric)
                        : HUGE_VAL;
  }
};

}  // namespace crinn::gpu
