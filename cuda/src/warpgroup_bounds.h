// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "fused_pass.h"
#include "warpgroup_tile.h"

/// From the products of a warpgroup's tile to rows that are appended. Excluding a product takes two
/// instructions: `low - acc` against a limit that a query has for 32 rows at a time, made from
/// their largest weight and residual. It is never below what knn_lower() needs to keep a row. The
/// few products that pass wait in a queue, which a warp then goes through with all lanes, and are
/// tested again with their own terms.
namespace crinn::gpu::warpgroup {

/// Bounds of a tile's rows. `low` in an order where the four values that a thread needs together
/// are one load, and a warp's loads are in different banks.
struct RowBounds {
  static constexpr int kPartRows = 32, kParts = kRows / kPartRows;
  struct alignas(16) Four {
    float value[4];
  };
  struct Part {
    float weight, residual;  // the largest of 32 rows
  };
  Four low[kRows / 4];
  Part parts[kParts];

  /// Of a row: low[index(row)].value[element(row)].
  CRINN_HOST_DEVICE static int index(int row) { return row / 16 * 4 + row % 8 / 2; }
  CRINN_HOST_DEVICE static int element(int row) { return row % 16 / 8 * 2 + row % 2; }
};

/// Of one query. limit() is at least threshold + slope weight + reach residual, widened by 2^-20 of
/// each term: more than what rounding takes here (three times 2^-24 of their sum) and in
/// knn_lower() (as much), with fused multiply-adds or without. 2^-120 covers what lies below the
/// normal range. NaN where the query takes no rows.
struct QueryBound {
  float slope, reach, threshold;

  CRINN_HOST_DEVICE static QueryBound of(const ann::KnnQuery& query, float threshold) {
    constexpr float kWiden = 0x1p-20f, kTiny = 0x1p-120f;
    return {query.slope * (1 + kWiden), query.reach * (1 + kWiden),
            threshold + (fabsf(threshold) * kWiden + kTiny)};
  }
  CRINN_HOST_DEVICE float limit(const RowBounds::Part& most) const {
    return fmaf(slope, most.weight, fmaf(reach, most.residual, threshold));
  }
};

/// Of a thread's two queries.
struct QueryBounds {
  QueryBound half[2];
};

/// Products of one warp that passed the first test.
struct Queue {
  static constexpr int kSize = 128, kEnough = 32;
  struct Entry {
    int32_t first_row;     // the tile's
    uint16_t thread, reg;  // where product_cell() finds the query and the row
    float product;
  };
  int count;  // may pass kSize: then entries from there on were refused
  Entry entries[kSize];
};

/// The warp that loads terms. warp.Each<T> is a T of each lane, each_lane(f) calls f for the lanes
/// that this thread stands for, largest() takes values that are not negative, arrive() is of every
/// lane. Rows beyond the operand and rows that the pass does not hold have low = NaN.
template <class Warp>
CRINN_HOST_DEVICE void load_bounds(const FusedPass& pass, const Strip& strip,
                                   RowBounds (&bounds)[kBoundsSlots], Warp& warp) {
  RingPlace slot;
  for (int tile = 0; tile < strip.tiles; ++tile, slot.next(kBoundsSlots)) {
    const int64_t first_row = strip.first_row + int64_t{tile} * kRows;
    typename Warp::template Each<ann::KnnRow> terms[RowBounds::kParts];
    CRINN_UNROLL
    for (int part = 0; part < RowBounds::kParts; ++part) {
      warp.each_lane([&](int lane) {
        const int64_t row = first_row + part * RowBounds::kPartRows + lane;
        terms[part].at(lane) =
            row < pass.rows.rows ? pass.row_terms[row] : ann::KnnRow{NAN, NAN, 0, 0};
      });
    }
    warp.wait(bounds_empty(slot.stage), slot.parity ^ 1);
    RowBounds& out = bounds[slot.stage];
    CRINN_UNROLL
    for (int part = 0; part < RowBounds::kParts; ++part) {
      typename Warp::template Each<float> weight, residual;
      warp.each_lane([&](int lane) {
        const ann::KnnRow& of_row = terms[part].at(lane);
        const int row = part * RowBounds::kPartRows + lane;
        out.low[RowBounds::index(row)].value[RowBounds::element(row)] = of_row.low;
        const bool held = of_row.low == of_row.low;
        weight.at(lane) = held && of_row.weight > 0 ? of_row.weight : 0;
        residual.at(lane) = held && of_row.residual > 0 ? of_row.residual : 0;
      });
      const RowBounds::Part most{warp.largest(weight), warp.largest(residual)};
      warp.each_lane([&](int lane) {
        if (lane == 0) out.parts[part] = most;
      });
    }
    warp.arrive(bounds_full(slot.stage));
  }
}

/// Queues the products of one thread that its limits do not exclude, from register `done` on, and
/// moves it to the first that the queue refused. Returns whether there is one.
template <class Group>
CRINN_HOST_DEVICE bool queue_products(Group& group, const RowBounds& rows,
                                      const QueryBounds& queries, int64_t first_row, int thread,
                                      const typename Group::Sums& sums, Queue& queue, int& done) {
  constexpr int kPart = kSums / RowBounds::kParts;  // registers that belong to 32 rows
  static_assert(kPart == 16);
  int refused = kSums;
  CRINN_UNROLL
  for (int part = 0; part < RowBounds::kParts; ++part) {
    const RowBounds::Part most = rows.parts[part];
    const float limit[2] = {queries.half[0].limit(most), queries.half[1].limit(most)};
    const RowBounds::Four low[2] = {rows.low[part * 8 + thread % 4],
                                    rows.low[part * 8 + 4 + thread % 4]};
    // Register i of the part: half i / 2 % 2 of the queries, row i / 4 * 8 + i % 2 after the first.
    const auto above = [&](int i) {
      return low[i / 8].value[i / 4 % 2 * 2 + i % 2] - group.value(sums, thread, part * kPart + i);
    };
    float least[2] = {HUGE_VALF, HUGE_VALF};
    CRINN_UNROLL
    for (int i = 0; i < kPart; ++i) least[i / 2 % 2] = fminf(least[i / 2 % 2], above(i));
    if (!(least[0] <= limit[0]) && !(least[1] <= limit[1])) continue;  // NaN does not count
    uint32_t passed = 0;
    int count = 0;
    CRINN_UNROLL
    for (int i = 0; i < kPart; ++i) {
      if (!(above(i) <= limit[i / 2 % 2]) || part * kPart + i < done) continue;
      passed |= 1u << i;
      ++count;
    }
    if (count == 0) continue;
    int at = group.add(&queue.count, count);
    CRINN_UNROLL
    for (int i = 0; i < kPart; ++i) {
      if ((passed >> i & 1) == 0) continue;
      const int reg = part * kPart + i;
      if (at < Queue::kSize) {
        queue.entries[at] = {static_cast<int32_t>(first_row), static_cast<uint16_t>(thread),
                             static_cast<uint16_t>(reg), group.value(sums, thread, reg)};
      } else if (reg < refused) {
        refused = reg;  // and all after it, because the queue stays full
      }
      ++at;
    }
  }
  done = refused;
  return refused < kSums;
}

/// Appends a product that passed the first test if it passes the second, as append() does, but in
/// line: across a call all sums would be saved.
template <class Group>
CRINN_HOST_DEVICE void append_entry(const FusedPass& pass, Group& group, int64_t first_query,
                                    const Queue::Entry& entry) {
  const Cell cell = product_cell(entry.thread, entry.reg);
  const int64_t q = first_query + cell.query;
  const int32_t row = entry.first_row + cell.row;
  const ann::KnnQuery query = pass.query_terms[q];
  const ann::KnnRow terms = pass.row_terms[row];
  const float lower = ann::knn_lower(terms, query, entry.product);
  if (!(lower <= pass.states[q].threshold)) return;
  const int place = group.add(&pass.states[q].count, 1);
  if (place >= pass.capacity) return;
  pass.waiting[q * pass.capacity + place] = {NAN, pass.first_id + row, lower,
                                             ann::knn_upper(terms, query, entry.product)};
}

/// Appends what a tile's products cannot exclude. What waits in a queue may stay there until the
/// strip's last tile. first_query is the warpgroup's.
template <class Group>
CRINN_HOST_DEVICE void append_products(const FusedPass& pass, Group& group, const RowBounds& rows,
                                       int64_t first_query, int64_t first_row, bool last,
                                       typename Group::template Each<QueryBounds>& queries,
                                       const typename Group::Sums& sums) {
  typename Group::template Each<int> done{};
  typename Group::template Each<bool> refused{};
  const auto enough = [last](const Queue& queue) { return last || queue.count >= Queue::kEnough; };
  do {
    group.each_thread([&](int thread) {
      refused.at(thread) = queue_products(group, rows, queries.at(thread), first_row, thread, sums,
                                          group.queue(thread), done.at(thread));
    });
    group.sync_warps();
    group.each_thread([&](int thread) {
      const Queue& queue = group.queue(thread);
      if (!enough(queue)) return;
      const int count = queue.count < Queue::kSize ? queue.count : Queue::kSize;
      for (int i = thread % 32; i < count; i += 32) {
        append_entry(pass, group, first_query, queue.entries[i]);
      }
    });
    group.sync_warps();
    group.each_thread([&](int thread) {
      Queue& queue = group.queue(thread);
      if (thread % 32 == 0 && enough(queue)) queue.count = 0;
    });
    group.sync_warps();
  } while (group.any(refused));
}

}  // namespace crinn::gpu::warpgroup
