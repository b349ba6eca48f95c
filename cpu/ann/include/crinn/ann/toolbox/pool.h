// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/simd.h"

/// Candidate pools of best-first search: what has been seen and is near, and what of it has not
/// been expanded yet. No pool allocates after its first reset() with a given ef.
namespace crinn::ann {

/// reset(ef): empty, keeps the `ef` nearest. insert(): false when the candidate is too far to be
/// kept; an id that is inserted twice takes two places (see visited.h). pop_next(): the nearest one
/// not expanded yet, now expanded; only after has_next(). threshold(): what is not nearer than this
/// is refused; +inf until the pool is full. drain(): all that is kept, nearest first, ties by id.
template <class P>
concept CandidatePool = std::default_initializable<P> &&
    requires(P& pool, const P& view, int ef, float estimate, int32_t id,
             std::vector<Candidate>& out) {
  pool.reset(ef);
  { pool.insert(estimate, id) } -> std::same_as<bool>;
  { pool.has_next() } -> std::same_as<bool>;
  { pool.pop_next() } -> std::same_as<Candidate>;
  { view.threshold() } -> std::same_as<float>;
  pool.drain(out);
};

/// Maps floats to integers of the same order (negative estimates of inner products included), so
/// that one comparison of integers orders (estimate, id), and a minimum of them vectorises.
inline int32_t sortable_key(float value) {
  const auto bits = std::bit_cast<int32_t>(value);
  return bits ^ static_cast<int32_t>(static_cast<uint32_t>(bits >> 31) >> 1);
}
inline float from_sortable_key(int32_t key) {
  return std::bit_cast<float>(key ^ static_cast<int32_t>(static_cast<uint32_t>(key >> 31) >> 1));
}

/// A sorted array with a mark on what is expanded. An insert moves what is farther, from the end
/// until the place is found: the fastest pool for ef up to a few hundred.
class LinearPool {
 public:
  void reset(int ef) {
    capacity_ = static_cast<std::size_t>(std::max(ef, 1));
    // Nothing is nearer than the front entries, nor farther than what lies beyond the last.
    entries_.assign(kFront, kNearest);
    entries_.resize(kFront + capacity_ + 1, kFarthest);
    size_ = next_ = 0;
    threshold_ = std::numeric_limits<float>::infinity();
  }

  bool insert(float estimate, int32_t id) {
    if (!(estimate < threshold_)) return false;
    const int64_t entry = pack(estimate, id);
    const std::size_t low = size_ <= kShort ? insert_from_end(entry) : insert_by_search(entry);
    if (size_ == capacity_) {
      at(capacity_) = kFarthest;  // what has been pushed out
    } else {
      ++size_;
    }
    if (size_ == capacity_) threshold_ = unpack(at(size_ - 1)).estimate;
    next_ = std::min(next_, low);
    return true;
  }

  bool has_next() const { return next_ < size_; }
  /// The one that pop_next() would return: what to prefetch for the next expansion.
  Candidate peek_next() const { return unpack(at(next_)); }
  Candidate pop_next() {
    const Candidate popped = unpack(at(next_));
    at(next_) |= 1;
    while (++next_ < size_ && (at(next_) & 1)) {
    }
    return popped;
  }

  float threshold() const { return threshold_; }
  int size() const { return static_cast<int>(size_); }
  /// By looking at all of them: for pools of a few.
  bool contains(int32_t id) const {
    const auto same = [id](int64_t entry) { return unpack(entry).id == id; };
    const auto first = entries_.begin() + kFront;
    return std::any_of(first, first + static_cast<std::ptrdiff_t>(size_), same);
  }

  void drain(std::vector<Candidate>& out) const {
    out.resize(size_);
    for (std::size_t i = 0; i < size_; ++i) out[i] = unpack(at(i));
  }

 private:
  static constexpr std::size_t kFront = 32, kShort = 128;
  static constexpr int64_t kNearest = std::numeric_limits<int64_t>::min();
  static constexpr int64_t kFarthest = std::numeric_limits<int64_t>::max();

  int64_t& at(std::size_t place) { return entries_[kFront + place]; }
  const int64_t& at(std::size_t place) const { return entries_[kFront + place]; }

  /// Both put an entry that is below the last of a full pool into its place and return that. The
  /// first has a branch that cannot be predicted every 32 entries at most, a binary search one a
  /// step.
  std::size_t insert_from_end(int64_t entry) {
#if defined(__AVX2__)
    // new[i] = min(old[i], max(old[i - 1], entry)), four at a time.
    const __m256i wanted = _mm256_set1_epi64x(entry);
    auto* four = reinterpret_cast<__m256i*>(&at(size_) - 3);
    __m256i minus_farther = _mm256_setzero_si256();
    const std::size_t blocks = std::min(kFront, size_ + 4) / 4;
    bool more = true;
    while (more) {
      __m256i before_farther = minus_farther;
      for (std::size_t i = 0; i < blocks; ++i, --four) {
        const __m256i old = _mm256_loadu_si256(four);
        const __m256i before = _mm256_loadu_si256(
            reinterpret_cast<const __m256i*>(reinterpret_cast<const int64_t*>(four) - 1));
        const __m256i farther = _mm256_cmpgt_epi64(old, wanted);
        before_farther = _mm256_cmpgt_epi64(before, wanted);
        const __m256i moved = _mm256_blendv_epi8(wanted, before, before_farther);
        _mm256_storeu_si256(four, _mm256_blendv_epi8(old, moved, farther));
        minus_farther = _mm256_add_epi64(minus_farther, farther);
      }
      more = (_mm256_movemask_pd(_mm256_castsi256_pd(before_farther)) & 1) != 0;
    }
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(minus_farther),
                                      _mm256_extracti128_si256(minus_farther, 1));
    return size_ + 1 + static_cast<std::size_t>(_mm_extract_epi64(two, 0)) +
           static_cast<std::size_t>(_mm_extract_epi64(two, 1));
#else
    int64_t* place = &at(size_);
    for (; place[-1] > entry; --place) *place = place[-1];
    *place = entry;
    return static_cast<std::size_t>(place - &at(0));
#endif
  }
  std::size_t insert_by_search(int64_t entry) {
    int64_t* place = std::lower_bound(&at(0), &at(size_), entry);
    std::memmove(place + 1, place, static_cast<std::size_t>(&at(size_) - place) * sizeof *place);
    *place = entry;
    return static_cast<std::size_t>(place - &at(0));
  }

  // Estimate, id, expanded: ids are below 2^31, so id and mark share the low word.
  static int64_t pack(float estimate, int32_t id) {
    return static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(sortable_key(estimate)))
                                    << 32 |
                                static_cast<uint64_t>(static_cast<uint32_t>(id)) << 1);
  }
  static Candidate unpack(int64_t entry) {
    return {from_sortable_key(static_cast<int32_t>(entry >> 32)),
            static_cast<int32_t>(static_cast<uint32_t>(entry) >> 1)};
  }

  std::vector<int64_t> entries_;  ///< [kFront + capacity_ + 1]
  std::size_t capacity_ = 0, size_ = 0, next_ = 0;
  float threshold_ = -std::numeric_limits<float>::infinity();  // nothing before a reset
};
static_assert(CandidatePool<LinearPool>);

/// Two binary heaps, the frontier and the results: cheapest for very large ef.
class HeapPool {
 public:
  void reset(int ef) {
    capacity_ = static_cast<std::size_t>(std::max(ef, 1));
    frontier_.clear();
    results_.clear();
    frontier_.reserve(4 * capacity_);
    results_.reserve(capacity_ + 1);
  }

  bool insert(float estimate, int32_t id) {
    if (!(estimate < threshold())) return false;
    frontier_.push_back({estimate, id});
    std::push_heap(frontier_.begin(), frontier_.end(), farther);
    results_.push_back({estimate, id});
    std::push_heap(results_.begin(), results_.end(), nearer);
    if (results_.size() > capacity_) {
      std::pop_heap(results_.begin(), results_.end(), nearer);
      results_.pop_back();
    }
    return true;
  }

  bool has_next() const {
    return !frontier_.empty() && frontier_.front().estimate <= worst_result();
  }
  Candidate peek_next() const { return frontier_.front(); }
  Candidate pop_next() {
    std::pop_heap(frontier_.begin(), frontier_.end(), farther);
    const Candidate popped = frontier_.back();
    frontier_.pop_back();
    return popped;
  }

  float threshold() const {
    return results_.size() < capacity_ ? std::numeric_limits<float>::infinity() : worst_result();
  }
  int size() const { return static_cast<int>(results_.size()); }

  void drain(std::vector<Candidate>& out) const {
    out.assign(results_.begin(), results_.end());
    std::sort(out.begin(), out.end(), nearer);
  }

 private:
  static constexpr auto farther = [](const Candidate& a, const Candidate& b) {
    return nearer(b, a);
  };
  float worst_result() const { return results_.front().estimate; }

  std::size_t capacity_ = 0;
  std::vector<Candidate> frontier_, results_;
};
static_assert(CandidatePool<HeapPool>);

}  // namespace crinn::ann
