// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#include "crinn/ann/knn_certificate.h"

/// Selection of one query's neighbours by one block of threads. Written against a Block policy
/// {rank, size, sync(), add(counter, value)}, so that the same code runs on the device and, with
/// host threads in place of a thread block, in the CPU's tests.
///
/// What a query cannot exclude waits in a buffer of fixed capacity. When it fills up, it is
/// compacted (threshold = the k-th smallest upper bound), and where bounds alone do not thin it out
/// (ties), it is settled: ranked by exact distance, k rows stay. So nothing overflows, and the
/// result does not depend on the order in which threads append.
namespace crinn::gpu {

/// Rows offered between two looks at the buffer: at most that many are appended.
inline constexpr int kSegment = 1024;

struct Waiting {
  double distance;  ///< NaN until it was settled
  int32_t id;
  float lower, upper;
};

/// A power of two, so that the buffer can be sorted in place.
inline int64_t selection_capacity(int64_t k) {
  const int64_t keep = 2 * k > kSegment ? 2 * k : kSegment;
  int64_t capacity = 1;
  while (capacity < 2 * keep + kSegment) capacity *= 2;
  return capacity;
}

/// State of one query that survives a launch. A pass that appends without looking may count beyond
/// the buffer's capacity; what it wrote lies behind the `held` rows that were there before.
struct QueryState {
  float threshold;
  int32_t count;
  int32_t held;
};

/// One query's selection; in shared memory on the device. Set by one thread before a sync().
struct Selection {
  QueryState state;
  ann::KnnQuery query;
  Waiting* rows;   ///< [capacity]
  Waiting* spare;  ///< [capacity]
  int32_t capacity, k;
  int kept, bin, left;
  int histogram[256];
};

/// A piece of the base, as the terms of its bounds.
struct Offer {
  const ann::KnnRow* terms;  ///< [rows]
  int64_t rows;
  int64_t first_id;
};

namespace detail {

/// Maps fp32 to integers of the same order.
CRINN_HOST_DEVICE inline uint32_t order_key(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

CRINN_HOST_DEVICE inline float from_order_key(uint32_t key) {
  const uint32_t bits = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

CRINN_HOST_DEVICE inline bool before(const Waiting& a, const Waiting& b) {
  return a.distance < b.distance || (a.distance == b.distance && a.id < b.id);
}

/// The k-th smallest upper bound of `count` >= k rows, by radix: eight bits a round.
template <class Block>
CRINN_HOST_DEVICE float kth_upper(Block& block, Selection& selection, int count) {
  uint32_t prefix = 0;
  int wanted = selection.k;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = block.rank; i < 256; i += block.size) selection.histogram[i] = 0;
    block.sync();
    for (int i = block.rank; i < count; i += block.size) {
      const uint32_t key = order_key(selection.rows[i].upper);
      if (shift == 24 || key >> (shift + 8) == prefix) {
        block.add(&selection.histogram[(key >> shift) & 255], 1);
      }
    }
    block.sync();
    if (block.rank == 0) {
      int bin = 0;
      while (selection.histogram[bin] < wanted) wanted -= selection.histogram[bin++];
      selection.bin = bin;
      selection.left = wanted;
    }
    block.sync();
    prefix = prefix << 8 | static_cast<uint32_t>(selection.bin);
    wanted = selection.left;
  }
  return from_order_key(prefix);
}

/// Tightens the threshold and drops what lies above it. Called by all threads after a sync().
template <class Block>
CRINN_HOST_DEVICE void compact(Block& block, Selection& selection) {
  const int count = selection.state.count;
  float threshold = selection.state.threshold;
  if (count < selection.k) return;
  const float tighter = ann::knn_threshold(kth_upper(block, selection, count), selection.query);
  if (tighter < threshold) threshold = tighter;
  if (block.rank == 0) selection.kept = 0;
  block.sync();
  for (int i = block.rank; i < count; i += block.size) {
    if (selection.rows[i].lower > threshold) continue;
    selection.spare[block.add(&selection.kept, 1)] = selection.rows[i];
  }
  block.sync();
  if (block.rank == 0) {
    Waiting* const rows = selection.rows;
    selection.rows = selection.spare;
    selection.spare = rows;
    selection.state = {threshold, selection.kept, selection.state.held};
  }
  block.sync();
}

}  // namespace detail

/// Ranks the buffer by exact(id) and keeps the k nearest, ties by id, sorted. Called by all threads
/// after a sync(), and ends with one.
template <class Block, class Exact>
CRINN_HOST_DEVICE void settle(Block& block, Selection& selection, const Exact& exact) {
  const int count = selection.state.count;
  int padded = 1;
  while (padded < count) padded *= 2;
  Waiting* const rows = selection.rows;
  for (int i = block.rank; i < padded; i += block.size) {
    if (i >= count) {
      rows[i] = {HUGE_VAL, INT32_MAX, FLT_MAX, FLT_MAX};
    } else if (rows[i].distance != rows[i].distance) {
      rows[i].distance = exact(rows[i].id);
    }
  }
  block.sync();
  // Bitonic sort.
  for (int run = 2; run <= padded; run *= 2) {
    for (int stride = run / 2; stride > 0; stride /= 2) {
      for (int i = block.rank; i < padded; i += block.size) {
        const int j = i ^ stride;
        if (j <= i) continue;
        const bool ascending = (i & run) == 0;
        if (detail::before(rows[j], rows[i]) == ascending) {
          const Waiting other = rows[i];
          rows[i] = rows[j];
          rows[j] = other;
        }
      }
      block.sync();
    }
  }
  if (block.rank == 0 && count > selection.k) selection.state.count = selection.k;
  block.sync();
}

/// Appends the rows that cannot be excluded, given product(i) of the query and row i of the piece.
/// Called by all threads after a sync(), and ends with one.
template <class Block, class Product, class Exact>
CRINN_HOST_DEVICE void offer(Block& block, Selection& selection, const Offer& piece,
                             const Product& product, const Exact& exact) {
  for (int64_t begin = 0; begin < piece.rows; begin += kSegment) {
    const int waiting = selection.state.count;
    block.sync();  // all have read the count before anyone appends
    if (waiting > selection.capacity - kSegment) {
      detail::compact(block, selection);
      const int left = selection.state.count;
      block.sync();
      if (left > selection.capacity / 2 - kSegment / 2) settle(block, selection, exact);
    }
    const float threshold = selection.state.threshold;
    const int64_t end = begin + kSegment < piece.rows ? begin + kSegment : piece.rows;
    for (int64_t i = begin + block.rank; i < end; i += block.size) {
      const ann::KnnRow terms = piece.terms[i];
      const float acc = product(i);
      const float lower = ann::knn_lower(terms, selection.query, acc);
      if (!(lower <= threshold)) continue;  // NaN: not a row of the pass
      const float upper = ann::knn_upper(terms, selection.query, acc);
      const int place = block.add(&selection.state.count, 1);
      selection.rows[place] = {NAN, static_cast<int32_t>(piece.first_id + i), lower, upper};
    }
    block.sync();
  }
}

/// After a piece: compacts, so that what waits stays little more than k. Settles where it does not
/// (ties), and with `last`: then nothing waits without its exact distance.
template <class Block, class Exact>
CRINN_HOST_DEVICE void finish(Block& block, Selection& selection, bool last, const Exact& exact) {
  detail::compact(block, selection);
  if (last || selection.state.count > selection.capacity / 2) settle(block, selection, exact);
  if (block.rank == 0) selection.state.held = selection.state.count;
  block.sync();
}

/// After a pass that appended the piece's survivors without looking: finishes, or, where they
/// overflowed the buffer, drops them and offers the piece again with product(i).
template <class Block, class Product, class Exact>
CRINN_HOST_DEVICE void collect(Block& block, Selection& selection, const Offer& piece,
                               const Product& product, bool last, const Exact& exact) {
  const bool overflowed = selection.state.count > selection.capacity;
  block.sync();  // all have read the count
  if (overflowed) {
    if (block.rank == 0) selection.state.count = selection.state.held;
    block.sync();
    offer(block, selection, piece, product, exact);
  }
  finish(block, selection, last, exact);
}

/// Takes `rows` rows by exact distance alone: id_of(i), distance_of(i). For what a pass does not
/// hold; their bounds say nothing, so they come after the last piece that needs a threshold. After
/// settle(), by all threads; leaves the buffer settled.
template <class Block, class Id, class Distance>
CRINN_HOST_DEVICE void offer_exactly(Block& block, Selection& selection, int64_t rows,
                                     const Id& id_of, const Distance& distance_of) {
  for (int64_t begin = 0; begin < rows;) {
    const int count = selection.state.count;
    const int64_t room = selection.capacity - count;
    const auto step = static_cast<int>(rows - begin < room ? rows - begin : room);
    block.sync();  // all have read the count
    for (int i = block.rank; i < step; i += block.size) {
      selection.rows[count + i] = {distance_of(begin + i), id_of(begin + i), -FLT_MAX, FLT_MAX};
    }
    if (block.rank == 0) selection.state.count = count + step;
    block.sync();
    settle(block, selection, [](int32_t) { return 0.0; });  // all have their distances
    begin += step;
  }
  if (block.rank == 0) selection.state.held = selection.state.count;
  block.sync();
}

}  // namespace crinn::gpu
