// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/exact_distance.h"

#if defined(__CUDA_ARCH__)
#define CRINN_UNROLL _Pragma("unroll")
#else
#define CRINN_UNROLL
#endif

/// The tile of one thread block, 128 queries times 128 rows, and who of its 8 warps and 32 lanes
/// holds what, as the PTX ISA lays out ldmatrix and mma.m16n8k16 (fp16) or mma.m16n8k32 (bytes): in
/// bytes the two are the same. Rows go through shared memory in slices of 128 bytes. Everything
/// that moves data is a policy, so that the same code runs on the device and, with 32 lanes in a
/// loop, in the CPU's tests.
namespace crinn::gpu::tile {

inline constexpr int kQueries = 128, kRows = 128;
inline constexpr int kWarpQueries = 64, kWarpRows = 32;
inline constexpr int kWarps = (kQueries / kWarpQueries) * (kRows / kWarpRows);
inline constexpr int kThreads = 32 * kWarps;
inline constexpr int kQueryFragments = kWarpQueries / 16;  // of one warp
inline constexpr int kRowFragments = kWarpRows / 8;
inline constexpr int kStepBytes = 32;    // one mma: 16 halves or 32 bytes
inline constexpr int kSliceBytes = 128;  // 8 chunks of 16 bytes
inline constexpr int kStageBytes = (kQueries + kRows) * kSliceBytes;
inline constexpr int kStages = 2;

/// A byte of a slice.
struct Place {
  int row, byte;
};

/// Where a slice keeps it: the chunks of a row are permuted by the row, so that the eight rows that
/// ldmatrix reads at once lie in different banks.
CRINN_HOST_DEVICE inline int slice_offset(Place place) {
  const int chunk = (place.byte / 16) ^ (place.row & 7);
  return place.row * kSliceBytes + chunk * 16 + place.byte % 16;
}

/// The 16 bytes of 16 queries times 32 bytes whose address `lane` gives to ldmatrix.x4: registers
/// 0 to 3 become (queries 0-7, 8-15) x (bytes 0-15), then x (bytes 16-31), mma's A.
CRINN_HOST_DEVICE inline Place query_chunk(int lane) { return {lane % 16, lane / 16 * 16}; }

/// Likewise of 16 rows times 32 bytes: registers 0 and 1 are mma's B of rows 0 to 7, registers 2
/// and 3 that of rows 8 to 15.
CRINN_HOST_DEVICE inline Place row_chunk(int lane) {
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 16};
}

/// Which product of 16 queries and 8 rows a register of mma's C holds.
struct Cell {
  int query, row;
};
CRINN_HOST_DEVICE inline Cell product_cell(int lane, int reg) {
  return {lane / 4 + reg / 2 * 8, lane % 4 * 2 + reg % 2};
}

/// Where a warp's part of the tile begins.
CRINN_HOST_DEVICE inline Cell warp_origin(int warp) {
  constexpr int kAcross = kQueries / kWarpQueries;
  return {warp % kAcross * kWarpQueries, warp / kAcross * kWarpRows};
}

/// Encoded rows in global memory, [rows, row_bytes] with row_bytes a multiple of kStepBytes and
/// below 2^24.
struct Operand {
  const uint8_t* data;
  int64_t rows, row_bytes;
};

/// One thread's share of a slice: memory.copy16(offset, source, inside), where what lies outside of
/// the operand is filled with zeros. `base` is where the slice begins in shared memory. A thread
/// copies one column of chunks, so that all it needs beside a pointer fits few registers.
template <class Memory>
CRINN_HOST_DEVICE void copy_slice(Memory& memory, int thread, const Operand& from, int64_t first,
                                  int slice, int base) {
  constexpr int kChunks = kSliceBytes / 16, kStep = kThreads / kChunks;
  static_assert(kStep % 8 == 0, "the permutation of a row's chunks repeats every eight rows");
  const Place place{thread / kChunks, thread % kChunks * 16};
  const int64_t left = from.rows - first;
  const int rows = left < kRows ? static_cast<int>(left) : kRows;
  const auto stride = static_cast<int>(from.row_bytes);
  const int byte = slice * kSliceBytes + place.byte;
  const uint8_t* const origin = from.data + first * from.row_bytes + byte;
  const int offset = base + slice_offset(place);
  CRINN_UNROLL
  for (int i = 0; i < kRows / kStep; ++i) {
    const int row = place.row + i * kStep;
    const bool inside = row < rows && byte < stride;
    memory.copy16(offset + i * kStep * kSliceBytes, inside ? origin + row * stride : from.data,
                  inside);
  }
}
static_assert(kQueries == kRows, "copy_slice() serves both operands");

/// mma steps of a slice.
CRINN_HOST_DEVICE inline int steps_of(int64_t row_bytes, int slice) {
  const int left = static_cast<int>(row_bytes) - slice * kSliceBytes;
  return (left < kSliceBytes ? left : kSliceBytes) / kStepBytes;
}

/// Adds the products of one slice to a warp's sums. lanes.load(fragment, offset_of(lane)) is
/// ldmatrix.x4, lanes.multiply(sum, a, b, half) mma with registers 2 half and 2 half + 1 of b.
/// `base` is where the stage begins: queries, then rows.
template <class Lanes>
CRINN_HOST_DEVICE void multiply_slice(Lanes& lanes, int warp, int base, int steps,
                                      typename Lanes::Sum (&sums)[kQueryFragments][kRowFragments]) {
  const Cell origin = warp_origin(warp);
  const int rows_base = base + kQueries * kSliceBytes;
  for (int step = 0; step < steps; ++step) {
    typename Lanes::Fragment a[kQueryFragments], b[kRowFragments / 2];
    CRINN_UNROLL
    for (int m = 0; m < kQueryFragments; ++m) {
      lanes.load(a[m], [=](int lane) {
        const Place chunk = query_chunk(lane);
        return base +
               slice_offset({origin.query + m * 16 + chunk.row, step * kStepBytes + chunk.byte});
      });
    }
    CRINN_UNROLL
    for (int n = 0; n < kRowFragments / 2; ++n) {
      lanes.load(b[n], [=](int lane) {
        const Place chunk = row_chunk(lane);
        return rows_base +
               slice_offset({origin.row + n * 16 + chunk.row, step * kStepBytes + chunk.byte});
      });
    }
    CRINN_UNROLL
    for (int m = 0; m < kQueryFragments; ++m) {
      CRINN_UNROLL
      for (int n = 0; n < kRowFragments; ++n) lanes.multiply(sums[m][n], a[m], b[n / 2], n % 2);
    }
  }
}

/// visit(query of the tile, row of the tile, terms_of(row), product) for all products of a warp's
/// lanes; terms are asked for once a row. lanes.each_lane(f) calls f for the lanes that this thread
/// stands for.
template <class Lanes, class Terms, class Visit>
CRINN_HOST_DEVICE void for_each_product(
    Lanes& lanes, int warp, const typename Lanes::Sum (&sums)[kQueryFragments][kRowFragments],
    const Terms& terms_of, const Visit& visit) {
  const Cell origin = warp_origin(warp);
  lanes.each_lane([&](int lane) {
    CRINN_UNROLL
    for (int n = 0; n < kRowFragments; ++n) {
      CRINN_UNROLL
      for (int odd = 0; odd < 2; ++odd) {
        const int row = origin.row + n * 8 + product_cell(lane, odd).row;
        const auto terms = terms_of(row);
        CRINN_UNROLL
        for (int m = 0; m < kQueryFragments; ++m) {
          CRINN_UNROLL
          for (int half = 0; half < 2; ++half) {
            const int reg = 2 * half + odd;
            const int query = origin.query + m * 16 + product_cell(lane, reg).query;
            visit(query, row, terms, lanes.value(sums[m][n], lane, reg));
          }
        }
      }
    }
  });
}

}  // namespace crinn::gpu::tile
