// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "tile.h"

/// The tile of one thread block on sm_90, 128 queries times 256 rows: who of its warpgroups and
/// their threads holds what, as the PTX ISA lays out wgmma.mma_async.m64n256k16 (fp16) and
/// m64n256k32 (signed bytes), which in bytes are the same; where its slices lie in shared memory;
/// and which barrier guards what. Slices of 128 bytes of the rows go through a ring of stages. The
/// queries stay where all their slices fit beside it, else they come again with every slice.
namespace crinn::gpu::warpgroup {

using tile::kSliceBytes;
using tile::kStepBytes;
using tile::Operand;

inline constexpr int kGroups = 2;  // warpgroups that multiply, each for its own queries
inline constexpr int kGroupQueries = 64, kGroupWarps = 4, kGroupThreads = 32 * kGroupWarps;
inline constexpr int kQueries = kGroups * kGroupQueries, kRows = 256;
inline constexpr int kSums = kGroupQueries * kRows / kGroupThreads;  // of one thread
/// After the warpgroups, a warp that loads slices and one that loads the terms of rows.
inline constexpr int kLoadWarp = kGroups * kGroupWarps, kBoundsWarp = kLoadWarp + 1;
inline constexpr int kThreads = 32 * (kBoundsWarp + 1);

/// Which product of its warpgroup's 64 queries and the tile's 256 rows a thread's register holds:
/// two queries a thread, at registers 4 i, 4 i + 1 and at 4 i + 2, 4 i + 3.
struct Cell {
  int query, row;
};
CRINN_HOST_DEVICE inline Cell product_cell(int thread, int reg) {
  return {thread / 32 * 16 + thread % 32 / 4 + reg / 2 % 2 * 8,
          reg / 4 * 8 + thread % 4 * 2 + reg % 2};
}

/// An operand of wgmma: rows of 128 bytes, one after the other from `address` on, a multiple of
/// 1024, as TMA swizzles them. The bits are the PTX ISA's matrix descriptor: the address in units
/// of 16 bytes, 1 where the mode has no leading stride, the bytes from eight rows to the next eight
/// in units of 16, base offset 0, and mode 1 (128 bytes) on top.
CRINN_HOST_DEVICE inline uint64_t descriptor(uint32_t address) {
  return (address & 0x3FFFFu) / 16 | uint64_t{1} << 16 | uint64_t{8 * kSliceBytes / 16} << 32 |
         uint64_t{1} << 62;
}

/// What moves a descriptor by one step within a slice.
inline constexpr int kDescriptorStep = kStepBytes / 16;

inline constexpr int kMostStages = 6;
inline constexpr int kQuerySliceBytes = kQueries * kSliceBytes;  // 16 KiB
inline constexpr int kRowSliceBytes = kRows * kSliceBytes;       // 32 KiB
inline constexpr int kTileBytes = 13 * kQuerySliceBytes;         // leaves 19 KiB of a block's 227

/// What a block has in the first kTileBytes of its shared memory; all multiples of 1024.
struct SharedLayout {
  int slices, stages, stage_bytes, ring;  // ring: where the stages begin
  bool resident;                          // the queries stay, before the ring
  /// The warpgroups take turns: one multiplies a tile while the other bounds its products. The ring
  /// must hold a whole tile then, because the second one starts after the first.
  bool in_turns;

  CRINN_HOST_DEVICE explicit SharedLayout(int64_t row_bytes)
      : slices(static_cast<int>((row_bytes + kSliceBytes - 1) / kSliceBytes)) {
    constexpr int kLeastStages = 4;
    resident = slices * kQuerySliceBytes + kLeastStages * kRowSliceBytes <= kTileBytes;
    ring = resident ? slices * kQuerySliceBytes : 0;
    stage_bytes = kRowSliceBytes + (resident ? 0 : kQuerySliceBytes);
    stages = (kTileBytes - ring) / stage_bytes;
    in_turns = slices <= stages;
  }

  CRINN_HOST_DEVICE int rows_at(int stage) const { return ring + stage * stage_bytes; }
  CRINN_HOST_DEVICE int queries_at(int slice, int stage) const {
    return resident ? slice * kQuerySliceBytes : rows_at(stage) + kRowSliceBytes;
  }
};

/// A place in a ring and the parity of the round that it is in: what to wait for where a barrier
/// says that the place was filled, and its opposite where one says that it was emptied.
struct RingPlace {
  int stage = 0, parity = 0;
  CRINN_HOST_DEVICE void next(int stages) {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// The block's barriers by number.
inline constexpr int kBoundsSlots = 2;
inline constexpr int kQueriesFull = 2 * kMostStages;
inline constexpr int kBarriers = kQueriesFull + 1 + 2 * kBoundsSlots;
CRINN_HOST_DEVICE inline int stage_full(int stage) { return stage; }
CRINN_HOST_DEVICE inline int stage_empty(int stage) { return kMostStages + stage; }
CRINN_HOST_DEVICE inline int bounds_full(int slot) { return kQueriesFull + 1 + slot; }
CRINN_HOST_DEVICE inline int bounds_empty(int slot) {
  return kQueriesFull + 1 + kBoundsSlots + slot;
}

/// Arrivals that complete a phase of a barrier: of the loading thread, whose bytes must have come
/// too; of the lanes that wrote bounds; of each warp that multiplies, done with what it read.
CRINN_HOST_DEVICE inline int arrivals(int barrier) {
  if (barrier < kMostStages || barrier == kQueriesFull) return 1;
  return barrier > kQueriesFull && barrier < bounds_empty(0) ? 32 : kGroups * kGroupWarps;
}

/// A block's work: `tiles` tiles of rows from first_row on.
struct Strip {
  int64_t first_query, first_row;
  int tiles;
};

CRINN_HOST_DEVICE inline int64_t tiles_of(const Operand& rows) {
  return (rows.rows + kRows - 1) / kRows;
}

/// The work of the block at (x, y) of the grid. Blocks that run at the same time have the same rows
/// and other queries, so that rows come from memory once and from L2 after that.
CRINN_HOST_DEVICE inline Strip strip_of(const Operand& rows, int64_t x, int64_t y,
                                        int64_t strip_tiles) {
  const int64_t left = tiles_of(rows) - y * strip_tiles;
  return {x * kQueries, y * strip_tiles * kRows,
          static_cast<int>(left < strip_tiles ? left : strip_tiles)};
}

/// Tiles of a strip, so that blocks, one to a multiprocessor, are done the earliest: long strips
/// start less often, and their number should fill the last round of blocks.
inline int64_t best_strip(int64_t row_tiles, int64_t query_tiles, int64_t multiprocessors) {
  constexpr int64_t kStart = 2;  // what a block's start costs, in tiles
  const int64_t most = std::min(row_tiles, 8 + 8 * multiprocessors / query_tiles);
  int64_t best = row_tiles, least = INT64_MAX;
  for (int64_t strips = 1; strips <= most; ++strips) {
    const int64_t tiles = (row_tiles + strips - 1) / strips;
    const int64_t blocks = query_tiles * ((row_tiles + tiles - 1) / tiles);
    const int64_t rounds = (blocks + multiprocessors - 1) / multiprocessors;
    if (const int64_t cost = rounds * (tiles + kStart); cost < least) {
      least = cost;
      best = tiles;
    }
  }
  return best;
}

}  // namespace crinn::gpu::warpgroup
