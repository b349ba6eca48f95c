// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "block_select.h"
#include "crinn/ann/knn_half.h"
#include "tile.h"

/// The pass of the tensor-core paths, products and selection in one: every product becomes a lower
/// bound in registers, and only rows that the bound cannot exclude are written. What a block does
/// between barriers is here; kernels (fused.cu) and the CPU's twin (host_device.h) hold the loop.
namespace crinn::gpu {

/// A tile of queries against a piece of the base.
struct FusedPass {
  tile::Operand queries, rows;
  const ann::KnnQuery* query_terms;  ///< [queries]
  const ann::KnnRow* row_terms;      ///< [rows]
  QueryState* states;                ///< [queries]
  Waiting* waiting;                  ///< [queries, capacity]
  int32_t capacity;
  int32_t first_id;

  CRINN_HOST_DEVICE int slices() const {
    return static_cast<int>((rows.row_bytes + tile::kSliceBytes - 1) / tile::kSliceBytes);
  }
  CRINN_HOST_DEVICE int64_t row_tiles() const {
    return (rows.rows + tile::kRows - 1) / tile::kRows;
  }
  CRINN_HOST_DEVICE int64_t query_tiles() const {
    return (queries.rows + tile::kQueries - 1) / tile::kQueries;
  }
};

/// Tiles of rows that one block goes through: long enough to hide its start, short enough that
/// there are four blocks for every multiprocessor, and a grid's second dimension holds the strips.
inline int64_t tiles_per_strip(int64_t row_tiles, int64_t query_tiles, int64_t multiprocessors) {
  constexpr int64_t kTiles = 16, kMostStrips = 65535;
  const int64_t wanted = (4 * multiprocessors + query_tiles - 1) / query_tiles;
  const int64_t tiles = std::clamp<int64_t>(row_tiles / std::max<int64_t>(wanted, 1), 1, kTiles);
  return std::max(tiles, (row_tiles + kMostStrips - 1) / kMostStrips);
}

/// What the bounds need of a block's queries; in shared memory on the device.
struct QueryTerms {
  float slope[tile::kQueries], reach[tile::kQueries], threshold[tile::kQueries];
};

/// One thread's share. Queries beyond the last get a threshold that nothing reaches.
CRINN_HOST_DEVICE inline void load_query_terms(const FusedPass& pass, int thread, int64_t first,
                                               QueryTerms& terms) {
  for (int i = thread; i < tile::kQueries; i += tile::kThreads) {
    const bool inside = first + i < pass.queries.rows;
    terms.slope[i] = inside ? pass.query_terms[first + i].slope : 0;
    terms.reach[i] = inside ? pass.query_terms[first + i].reach : 0;
    terms.threshold[i] = inside ? pass.states[first + i].threshold : NAN;
  }
}

#if defined(__CUDA_ARCH__)
#define CRINN_COLD __noinline__
#else
#define CRINN_COLD
#endif

/// Appends one row that its product cannot exclude; a count may pass the capacity, see collect().
/// Out of line: few products come here, and what this needs would take registers from the sums.
template <class Block>
CRINN_COLD CRINN_HOST_DEVICE void append(const FusedPass& pass, Block& block, ann::KnnQuery query,
                                         int64_t q, int64_t row, float acc) {
  const int place = block.add(&pass.states[q].count, 1);
  if (place >= pass.capacity) return;
  const ann::KnnRow terms = pass.row_terms[row];
  pass.waiting[q * pass.capacity + place] = {NAN, static_cast<int32_t>(pass.first_id + row),
                                             ann::knn_lower(terms, query, acc),
                                             ann::knn_upper(terms, query, acc)};
}

/// Appends what a warp's products cannot exclude. first_query and first_row are the tile's.
template <class Block, class Lanes>
CRINN_HOST_DEVICE void append_survivors(
    const FusedPass& pass, Block& block, Lanes& lanes, int warp, const QueryTerms& terms,
    int64_t first_query, int64_t first_row,
    const typename Lanes::Sum (&sums)[tile::kQueryFragments][tile::kRowFragments]) {
  const auto terms_of = [&](int row) {
    return first_row + row < pass.rows.rows ? pass.row_terms[first_row + row]
                                            : ann::KnnRow{NAN, NAN, 0, 0};
  };
  tile::for_each_product(lanes, warp, sums, terms_of,
                         [&](int query, int row, const ann::KnnRow& of_row, float acc) {
                           const ann::KnnQuery of_query{terms.slope[query], terms.reach[query], 0};
                           if (!(ann::knn_lower(of_row, of_query, acc) <= terms.threshold[query]))
                             return;
                           append(pass, block, of_query, first_query + query, first_row + row, acc);
                         });
}

/// One product again, outside of tensor cores, for rows whose survivors overflowed a buffer. Its
/// error is within the certificate's.
struct HalfProduct {
  const uint8_t* query;
  const uint8_t* rows;
  int64_t row_bytes;
  CRINN_HOST_DEVICE float operator()(int64_t i) const {
    const auto* a = reinterpret_cast<const uint16_t*>(query);
    const auto* b = reinterpret_cast<const uint16_t*>(rows + i * row_bytes);
    float sum = 0;
    for (int64_t j = 0; j < row_bytes / 2; ++j)
      sum += ann::half_value(a[j]) * ann::half_value(b[j]);
    return sum;
  }
};

struct ByteProduct {
  const uint8_t* query;
  const uint8_t* rows;
  int64_t row_bytes;
  CRINN_HOST_DEVICE float operator()(int64_t i) const {
    const auto* a = reinterpret_cast<const int8_t*>(query);
    const auto* b = reinterpret_cast<const int8_t*>(rows + i * row_bytes);
    int32_t sum = 0;
    for (int64_t j = 0; j < row_bytes; ++j) sum += int32_t{a[j]} * b[j];
    return static_cast<float>(sum);
  }
};

}  // namespace crinn::gpu
