// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/order.h"
#include "crinn/ann/toolbox/prefetch.h"
#include "crinn/ann/toolbox/simd.h"
#include "crinn/base/huge_array.h"

namespace crinn::ann {

/// Bytes of an id that a row of `degree` of them takes the least memory with: 2, 3 or 4. Rows are
/// padded to 32 bytes, so that they straddle no more lines than they must, and narrow ids that gain
/// nothing then are not worth unpacking. One value of each width stands for "none".
inline int id_bytes(int64_t n, int64_t degree) {
  int best = 4;
  for (const int bytes : {3, 2}) {
    const bool fits = n < (int64_t{1} << (8 * bytes)) - 1;
    if (fits && round_up(degree * bytes, 32) < round_up(degree * best, 32)) best = bytes;
  }
  return best;
}

namespace scalar {

/// Ids of `bytes` bytes each, the lowest first, to ids [count]; all ones are -1.
inline void unpack_ids(const uint8_t* packed, int bytes, int64_t count, int32_t* ids) {
  const uint32_t none = bytes == 4 ? ~0u : (1u << (8 * bytes)) - 1;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t id = 0;
    for (int b = 0; b < bytes; ++b) id |= uint32_t{packed[i * bytes + b]} << (8 * b);
    ids[i] = id == none ? -1 : static_cast<int32_t>(id);
  }
}

}  // namespace scalar

/// scalar::unpack_ids; count is a multiple of 8, and 4 bytes beyond `packed` can be read.
template <int kBytes>
inline void unpack_ids(const uint8_t* packed, int64_t count, int32_t* ids) {
  static_assert(kBytes >= 2 && kBytes <= 4);
  if constexpr (kBytes == 4) {
    if (count > 0) std::memcpy(ids, packed, static_cast<std::size_t>(count) * 4);
  } else {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
    const __m256i none = _mm256_set1_epi32((1 << (8 * kBytes)) - 1);
    const __m256i spread = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
    for (int64_t i = 0; i < count; i += 8) {
      const auto* from = reinterpret_cast<const __m128i*>(packed + i * kBytes);
      __m256i values;
      if constexpr (kBytes == 2) {
        values = _mm256_cvtepu16_epi32(_mm_loadu_si128(from));
      } else {
        const auto* more = reinterpret_cast<const __m128i*>(packed + i * kBytes + 12);
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(from)),
                                                     _mm_loadu_si128(more), 1);
        values = _mm256_shuffle_epi8(both, spread);
      }
      values = _mm256_or_si256(values, _mm256_cmpeq_epi32(values, none));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(ids + i), values);
    }
#else
    scalar::unpack_ids(packed, kBytes, count, ids);
#endif
  }
}

/// A graph's rows by place, with ids of as few bytes as pay (see id_bytes).
class PackedRows {
 public:
  PackedRows(const GraphView& graph, const Placement& placement)
      : bytes_(id_bytes(graph.neighbors.rows, graph.neighbors.cols)),
        lanes_(round_up(graph.neighbors.cols, 8)),
        row_bytes_(round_up(graph.neighbors.cols * bytes_, 32)) {
    const int64_t n = graph.neighbors.rows, degree = graph.neighbors.cols;
    // Reading the last row may go beyond it, up to the lanes and the width of a register.
    rows_ = HugeArray<uint8_t>(static_cast<std::size_t>(n * row_bytes_ + 64));
    for (int64_t place = 0; place < n; ++place) {
      const int32_t* from = graph.neighbors.row(placement.id_at(place));
      uint8_t* to = rows_.data() + place * row_bytes_;
      std::fill_n(to, row_bytes_, uint8_t{255});
      for (int64_t i = 0; i < degree && from[i] >= 0; ++i) {
        const int32_t neighbor = placement.place_of(from[i]);
        std::memcpy(to + i * bytes_, &neighbor, static_cast<std::size_t>(bytes_));
      }
    }
  }

  /// places [lanes()]: the node's neighbours in order, then -1 at least up to the degree.
  void unpack(int64_t place, int32_t* places) const {
    const uint8_t* row = rows_.data() + place * row_bytes_;
    if (bytes_ == 2) {
      unpack_ids<2>(row, lanes_, places);
    } else if (bytes_ == 3) {
      unpack_ids<3>(row, lanes_, places);
    } else {
      unpack_ids<4>(row, lanes_, places);
    }
  }
  /// The degree rounded up to a multiple of 8.
  int64_t lanes() const { return lanes_; }
  int bytes_of_id() const { return bytes_; }
  std::size_t bytes() const { return rows_.size(); }

  /// The first `lines` lines of the node's row; all by default.
  void prefetch(int64_t place, int lines = std::numeric_limits<int>::max()) const {
    prefetch_record(rows_.data() + place * row_bytes_, row_bytes_, lines);
  }

 private:
  int bytes_;
  int64_t lanes_, row_bytes_;
  HugeArray<uint8_t> rows_;
};

}  // namespace crinn::ann
