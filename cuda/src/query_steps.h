// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "block_select.h"
#include "crinn/gpu/knn.h"
#include "fused_pass.h"

/// What one block of threads does for one query between passes: the bodies of the kernels in
/// knn.cu, which the CPU's twin runs too.
namespace crinn::gpu {

/// A tile of queries in device memory.
struct KnnTile {
  const float* raw;              ///< [queries, d]
  const uint8_t* encoded;        ///< [queries, row_bytes]
  const ann::KnnQuery* queries;  ///< [queries]
  QueryState* states;            ///< [queries]
  Waiting* rows;                 ///< [queries, capacity]
  Waiting* spare;                ///< [queries, capacity]
  int64_t count;                 ///< queries
  int32_t capacity, k;
};

/// A piece of the base rows that are in device memory.
struct KnnPiece {
  const float* raw_chunk;    ///< rows from chunk_id on, [.., d]
  const uint8_t* encoded;    ///< [rows, row_bytes]
  const ann::KnnRow* terms;  ///< [rows]
  int64_t chunk_id, first_id, rows;
  int64_t d, row_bytes;
  ann::Metric metric;
  KnnPath path;
};

/// Rows that are compared exactly; `ids` may be null, then they are first_id and those after it.
struct ExactRows {
  const float* raw;    ///< [rows, d]
  const int32_t* ids;  ///< [rows]
  int64_t first_id, rows;
  int64_t d;
  ann::Metric metric;
};

/// Product of the tile's query with row i where all products were written.
struct StoredProduct {
  const float* products;  ///< of one query, [rows]
  CRINN_HOST_DEVICE float operator()(int64_t i) const { return products[i]; }
};

CRINN_HOST_DEVICE inline bool held_by_pass(const KnnTile& tile, int64_t q) {
  return tile.queries[q].slope == tile.queries[q].slope;
}

template <class Block>
CRINN_HOST_DEVICE void open_selection(Block& block, Selection& selection, const KnnTile& tile,
                                      int64_t q) {
  if (block.rank == 0) {
    selection.state = tile.states[q];
    selection.query = tile.queries[q];
    selection.rows = tile.rows + q * tile.capacity;
    selection.spare = tile.spare + q * tile.capacity;
    selection.capacity = tile.capacity;
    selection.k = tile.k;
  }
  block.sync();
}

template <class Block>
CRINN_HOST_DEVICE void close_selection(Block& block, Selection& selection, const KnnTile& tile,
                                       int64_t q) {
  // The buffers may have changed places: the next launch looks in the first.
  Waiting* const home = tile.rows + q * tile.capacity;
  if (selection.rows != home) {
    for (int i = block.rank; i < selection.state.count; i += block.size) {
      home[i] = selection.rows[i];
    }
  }
  if (block.rank == 0) tile.states[q] = selection.state;
  block.sync();
}

/// After a pass over the piece; with `last`, the chunk's last.
template <class Block>
CRINN_HOST_DEVICE void collect_query(Block& block, Selection& selection, const KnnTile& tile,
                                     const KnnPiece& piece, const float* products, bool last,
                                     int64_t q) {
  open_selection(block, selection, tile, q);
  const float* raw = tile.raw + q * piece.d;
  const auto exact = [&](int32_t id) {
    return ann::exact_distance(raw, piece.raw_chunk + (id - piece.chunk_id) * piece.d, piece.d,
                               piece.metric);
  };
  const Offer rows{piece.terms, piece.rows, piece.first_id};
  const uint8_t* query = tile.encoded + q * piece.row_bytes;
  if (piece.path == KnnPath::kFp32) {
    offer(block, selection, rows, StoredProduct{products + q * piece.rows}, exact);
    finish(block, selection, last, exact);
  } else if (piece.path == KnnPath::kInteger) {
    const ByteProduct product{query, piece.encoded, piece.row_bytes};
    collect(block, selection, rows, product, last, exact);
  } else {
    const HalfProduct product{query, piece.encoded, piece.row_bytes};
    collect(block, selection, rows, product, last, exact);
  }
  close_selection(block, selection, tile, q);
}

/// Takes rows by exact distance for a query that the pass holds, or for one that it does not hold.
template <class Block>
CRINN_HOST_DEVICE void take_exactly(Block& block, Selection& selection, const KnnTile& tile,
                                    const ExactRows& rows, bool held, int64_t q) {
  if (held_by_pass(tile, q) != held) return;
  open_selection(block, selection, tile, q);
  const float* raw = tile.raw + q * rows.d;
  offer_exactly(
      block, selection, rows.rows,
      [&](int64_t i) { return rows.ids ? rows.ids[i] : static_cast<int32_t>(rows.first_id + i); },
      [&](int64_t i) {
        return ann::exact_distance(raw, rows.raw + i * rows.d, rows.d, rows.metric);
      });
  close_selection(block, selection, tile, q);
}

}  // namespace crinn::gpu
