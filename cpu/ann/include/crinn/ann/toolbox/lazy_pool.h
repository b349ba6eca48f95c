// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include "crinn/ann/toolbox/pool.h"
#include "crinn/ann/toolbox/select.h"
#include "crinn/ann/toolbox/simd.h"

namespace crinn::ann {

/// An unsorted buffer: an insert appends, popping is a vector minimum over the buffer, and only
/// when the buffer is full the ef nearest are selected and the threshold tightens. It keeps up to
/// ef + slack candidates, so it expands a few more than a sorted pool of the same ef. Takes whole
/// blocks of 16 estimates in two compress-stores (AVX-512).
class LazyPool {
 public:
  void reset(int ef) {
    keep_ = static_cast<std::size_t>(std::max(ef, 1));
    capacity_ = keep_ + std::max<std::size_t>(keep_ / 2, kMinSlack);
    const std::size_t room = (capacity_ + 2 * kBlock) / kBlock * kBlock;
    if (ids_.size() < room) {
      keys_.resize(room);
      open_.resize(room);
      ids_.resize(room);
    }
    size_ = 0;
    std::fill(open_.begin(), open_.end(), kClosed);  // places beyond size_ stay closed
    threshold_ = std::numeric_limits<float>::infinity();
  }

  bool insert(float estimate, int32_t id) {
    if (!(estimate < threshold_)) return false;
    keys_[size_] = open_[size_] = sortable_key(estimate);
    ids_[size_] = id;
    if (++size_ >= capacity_) select();
    return true;
  }

  /// Inserts those of a block of 16 estimates that lie under the threshold and whose bit in `mask`
  /// is set.
  void insert_block(const float* estimates, const int32_t* ids, uint32_t mask = 0xFFFF) {
#if defined(__AVX512DQ__)
    const __m512 values = _mm512_loadu_ps(estimates);
    const __mmask16 taken = _mm512_mask_cmp_ps_mask(static_cast<__mmask16>(mask), values,
                                                    _mm512_set1_ps(threshold_), _CMP_LT_OQ);
    if (!taken) return;
    const __m512i bits = _mm512_castps_si512(values);
    const __m512i ordered = _mm512_mask_xor_epi32(bits, _mm512_movepi32_mask(bits), bits,
                                                  _mm512_set1_epi32(0x7FFFFFFF));
    const __m512i keys = _mm512_maskz_compress_epi32(taken, ordered);
    const auto count = static_cast<std::size_t>(__builtin_popcount(taken));
    const auto tail = static_cast<__mmask16>((1u << count) - 1);
    _mm512_mask_storeu_epi32(keys_.data() + size_, tail, keys);
    _mm512_mask_storeu_epi32(open_.data() + size_, tail, keys);
    _mm512_mask_storeu_epi32(ids_.data() + size_, tail,
                             _mm512_maskz_compress_epi32(taken, _mm512_loadu_si512(ids)));
    size_ += count;
    if (size_ >= capacity_) select();
#else
    for (mask &= below16(estimates, threshold_); mask != 0; mask &= mask - 1) {
      const int i = std::countr_zero(mask);
      insert(estimates[i], ids[i]);
    }
#endif
  }

  bool has_next() {
    int32_t nearest = kClosed;
    const std::size_t blocks = (size_ + kBlock - 1) / kBlock * kBlock;
    const int32_t* open = open_.data();
    for (std::size_t i = 0; i < blocks; ++i) nearest = std::min(nearest, open[i]);
    next_key_ = nearest;
    return nearest != kClosed;
  }

  Candidate pop_next() {
    const int32_t* open = open_.data();
    std::size_t place = 0;
    for (;; place += kBlock) {  // no early exit inside a block: it vectorises
      uint32_t hit = 0;
      for (std::size_t i = 0; i < kBlock; ++i) {
        hit |= static_cast<uint32_t>(open[place + i] == next_key_) << i;
      }
      if (hit) {
        place += static_cast<std::size_t>(__builtin_ctz(hit));
        break;
      }
    }
    open_[place] = kClosed;
    return {from_sortable_key(keys_[place]), ids_[place]};
  }

  float threshold() const { return threshold_; }
  int size() const { return static_cast<int>(size_); }

  void drain(std::vector<Candidate>& out) {
    out.clear();
    for (std::size_t i = 0; i < size_; ++i) out.push_back({from_sortable_key(keys_[i]), ids_[i]});
    std::sort(out.begin(), out.end(), nearer);
    if (out.size() > keep_) out.resize(keep_);
  }

 private:
  static constexpr std::size_t kBlock = 16, kMinSlack = 16;
  static constexpr int32_t kClosed = std::numeric_limits<int32_t>::max();

  /// The key of rank keep_, by halving the range of keys: a few counts over all of them, without
  /// the unpredictable branches of std::nth_element.
  int32_t key_of_last() const {
    const int32_t* keys = keys_.data();
    int32_t low = keys[0], high = keys[0];
    for (std::size_t i = 0; i < size_; ++i) {
      low = std::min(low, keys[i]);
      high = std::max(high, keys[i]);
    }
    const auto keep = static_cast<uint32_t>(keep_);
    for (uint32_t count = 0; low < high && count != keep;) {
      const auto span = static_cast<uint32_t>(high) - static_cast<uint32_t>(low);
      const int32_t middle = low + static_cast<int32_t>(span / 2);
      count = 0;
      for (std::size_t i = 0; i < size_; ++i) count += keys[i] <= middle;
      const bool enough = count >= keep;
      low = enough ? low : middle + 1;
      high = enough ? middle : high;
    }
    int32_t last = std::numeric_limits<int32_t>::min();
    for (std::size_t i = 0; i < size_; ++i) {
      last = std::max(last, keys[i] <= high ? keys[i] : std::numeric_limits<int32_t>::min());
    }
    return last;
  }

  void select() {
    const int32_t limit = key_of_last();
    std::size_t ties = keep_;  // how many of the limit's equals still fit
    for (std::size_t i = 0; i < size_; ++i) ties -= keys_[i] < limit;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      const int32_t key = keys_[i], open = open_[i], id = ids_[i];
      const bool tie = key == limit, stays = key < limit || (tie && ties != 0);
      keys_[kept] = key;
      open_[kept] = open;
      ids_[kept] = id;
      ties -= tie && stays;
      kept += stays;
    }
    std::fill(open_.begin() + static_cast<std::ptrdiff_t>(kept),
              open_.begin() + static_cast<std::ptrdiff_t>(size_), kClosed);
    size_ = kept;
    threshold_ = from_sortable_key(limit);
  }

  std::vector<int32_t> keys_, open_, ids_;
  std::size_t keep_ = 0, capacity_ = 0, size_ = 0;
  int32_t next_key_ = kClosed;
  float threshold_ = 0;
};
static_assert(CandidatePool<LazyPool>);

}  // namespace crinn::ann
