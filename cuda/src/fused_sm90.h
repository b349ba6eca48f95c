// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "fused_pass.h"
#include "warpgroup_bounds.h"
#include "warpgroup_tile.h"

/// The pass of fused_pass.h for sm_90: TMA loads, wgmma multiplies, and what cannot be excluded is
/// appended as append_survivors() does. Here are the four parts of a block, which run side by side
/// and meet at barriers only: a thread that loads slices, a warp that loads the rows' terms, and
/// two warpgroups that multiply. All that touches hardware is a policy, so that fused_sm90.cu and
/// the CPU's twin (host_warpgroups.h) run the same code.
namespace crinn::gpu {

/// Whether this build has the pass, and launch_fused_sm90() may be called on an sm_90 device.
bool fused_sm90_built();

/// launch_fused() for the current device, which must be sm_90. Throws Error (device).
void launch_fused_sm90(const FusedPass& pass, bool integers);

/// All products [nq, n] as the pass makes them, from host memory: queries [nq, row_bytes] and rows
/// [n, row_bytes] of halves or, with `integers`, of signed bytes. For tests. Throws Error (device).
std::vector<float> products_sm90(std::span<const uint8_t> queries, std::span<const uint8_t> rows,
                                 int64_t row_bytes, bool integers);

namespace warpgroup {

/// A block's shared memory after the slices.
struct SharedState {
  RowBounds bounds[kBoundsSlots];
  Queue queues[kGroups * kGroupWarps];
  uint64_t barriers[kBarriers];
};

/// The loading thread. loader.wait(barrier, parity), expect(barrier, bytes): arrives, and the phase
/// waits for as many bytes; copy_queries() and copy_rows(offset, slice, first, barrier): boxes of
/// 128 bytes of kQueries queries or kRows rows, zeros where they lie outside of the operand.
template <class Loader>
CRINN_HOST_DEVICE void load_slices(const SharedLayout& layout, const Strip& strip, Loader& loader) {
  if (layout.resident) {
    loader.expect(kQueriesFull, layout.slices * kQuerySliceBytes);
    for (int slice = 0; slice < layout.slices; ++slice) {
      loader.copy_queries(layout.queries_at(slice, 0), slice, strip.first_query, kQueriesFull);
    }
  }
  RingPlace place;
  for (int tile = 0; tile < strip.tiles; ++tile) {
    const int64_t first_row = strip.first_row + int64_t{tile} * kRows;
    for (int slice = 0; slice < layout.slices; ++slice, place.next(layout.stages)) {
      const int full = stage_full(place.stage);
      loader.wait(stage_empty(place.stage), place.parity ^ 1);
      loader.expect(full, layout.stage_bytes);
      loader.copy_rows(layout.rows_at(place.stage), slice, first_row, full);
      if (layout.resident) continue;
      loader.copy_queries(layout.queries_at(slice, place.stage), slice, strip.first_query, full);
    }
  }
}

/// Adds the products of kSteps steps of a slice; with kFirst, sums begin here. The slice is in
/// shared memory; it may still be read when this returns. No branch lies between the instructions
/// of a group, so that nothing has to wait for one of them.
template <bool kFirst, int kSteps, class Group>
CRINN_HOST_DEVICE void multiply_steps(Group& group, uint64_t queries, uint64_t rows,
                                      typename Group::Sums& sums) {
  group.fence();
  CRINN_UNROLL
  for (int step = 0; step < kSteps; ++step) {
    const uint64_t forward = static_cast<uint64_t>(step) * kDescriptorStep;
    if (kFirst && step == 0) {
      group.start(sums, queries, rows);
    } else {
      group.multiply(sums, queries + forward, rows + forward);
    }
  }
  group.commit();
}

template <bool kFirst, class Group>
CRINN_HOST_DEVICE void multiply_slice(Group& group, const SharedLayout& layout, int64_t row_bytes,
                                      int slice, int stage, typename Group::Sums& sums) {
  const int of_group = group.index() * kGroupQueries * kSliceBytes;
  const uint64_t queries = descriptor(group.address(layout.queries_at(slice, stage) + of_group));
  const uint64_t rows = descriptor(group.address(layout.rows_at(stage)));
  switch (tile::steps_of(row_bytes, slice)) {
    case 1: multiply_steps<kFirst, 1>(group, queries, rows, sums); break;
    case 2: multiply_steps<kFirst, 2>(group, queries, rows, sums); break;
    case 3: multiply_steps<kFirst, 3>(group, queries, rows, sums); break;
    default: multiply_steps<kFirst, 4>(group, queries, rows, sums);
  }
}

/// A warpgroup that multiplies: visit(tile, sums) for all tiles of the strip. group.start() and
/// multiply() are wgmma with a new sum and with the sum so far, fence(), commit(), wait_but_one()
/// and wait_all() its fence and groups; arrive() is of one lane of every warp; wait_turn() and
/// give_turn() let the warpgroups multiply one after the other.
template <class Group, class Visit>
CRINN_HOST_DEVICE void multiply_tiles(const SharedLayout& layout, int64_t row_bytes, int tiles,
                                      Group& group, const Visit& visit) {
  typename Group::Sums sums;
  RingPlace place;
  if (layout.resident) group.wait(kQueriesFull, 0);
  for (int tile = 0; tile < tiles; ++tile) {
    if (layout.in_turns && (group.index() > 0 || tile > 0)) group.wait_turn();
    group.wait(stage_full(place.stage), place.parity);
    multiply_slice<true>(group, layout, row_bytes, 0, place.stage, sums);
    int before = place.stage;
    place.next(layout.stages);
    for (int slice = 1; slice < layout.slices; ++slice) {
      group.wait(stage_full(place.stage), place.parity);
      multiply_slice<false>(group, layout, row_bytes, slice, place.stage, sums);
      group.wait_but_one();
      group.arrive(stage_empty(before));
      before = place.stage;
      place.next(layout.stages);
    }
    const bool last_turn = group.index() == kGroups - 1 && tile == tiles - 1;
    if (layout.in_turns && !last_turn) group.give_turn();
    group.wait_all(sums);
    group.arrive(stage_empty(before));
    visit(tile, sums);
  }
}

/// visit(query, row, product) for a warpgroup's products of a tile, of nq queries and n rows.
template <class Group, class Visit>
CRINN_HOST_DEVICE void each_product(Group& group, const Strip& strip, int tile, int64_t nq,
                                    int64_t n, const typename Group::Sums& sums,
                                    const Visit& visit) {
  group.each_thread([&](int thread) {
    CRINN_UNROLL
    for (int reg = 0; reg < kSums; ++reg) {
      const Cell cell = product_cell(thread, reg);
      const int64_t q = strip.first_query + group.index() * kGroupQueries + cell.query;
      const int64_t i = strip.first_row + int64_t{tile} * kRows + cell.row;
      if (q < nq && i < n) visit(q, i, group.value(sums, thread, reg));
    }
  });
}

/// A warpgroup that multiplies and appends. Queries beyond the last have a threshold of NaN.
template <class Group>
CRINN_HOST_DEVICE void multiply_and_append(const FusedPass& pass, const Strip& strip,
                                           const RowBounds (&bounds)[kBoundsSlots], Group& group) {
  const int64_t first_query = strip.first_query + group.index() * kGroupQueries;
  typename Group::template Each<QueryBounds> queries;
  group.each_thread([&](int thread) {
    CRINN_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int64_t q = first_query + product_cell(thread, 2 * half).query;
      queries.at(thread).half[half] =
          q < pass.queries.rows ? QueryBound::of(pass.query_terms[q], pass.states[q].threshold)
                                : QueryBound{0, 0, NAN};
    }
  });
  RingPlace slot;
  multiply_tiles(SharedLayout(pass.rows.row_bytes), pass.rows.row_bytes, strip.tiles, group,
                 [&](int tile, const typename Group::Sums& sums) {
                   group.wait(bounds_full(slot.stage), slot.parity);
                   append_products(pass, group, bounds[slot.stage], first_query,
                                   strip.first_row + int64_t{tile} * kRows, tile == strip.tiles - 1,
                                   queries, sums);
                   group.arrive(bounds_empty(slot.stage));
                   slot.next(kBoundsSlots);
                 });
}

}  // namespace warpgroup
}  // namespace crinn::gpu
