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

/// Maps floats to unsigned integers of the same order (negative estimates of inner products
/// included), so that one integer comparison orders (estimate, id).
inline uint32_t sortable_key(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return bits ^ ((bits >> 31) ? 0xFFFFFFFFu : 0x80000000u);
}
inline float from_sortable_key(uint32_t key) {
  return std::bit_cast<float>(key ^ ((key >> 31) ? 0x80000000u : 0xFFFFFFFFu));
}

/// A sorted array with a mark on what is expanded. An insert is a binary search and one move:
/// the fastest pool for ef up to a few hundred.
class LinearPool {
 public:
  void reset(int ef) {
    capacity_ = static_cast<std::size_t>(std::max(ef, 1));
    if (entries_.size() < capacity_ + 1) entries_.resize(capacity_ + 1);
    size_ = next_ = 0;
    threshold_ = std::numeric_limits<float>::infinity();
  }

  bool insert(float estimate, int32_t id) {
    if (!(estimate < threshold_)) return false;
    const uint64_t entry = pack(estimate, id);
    const std::size_t low = rank(entry);
    if (low >= capacity_) return false;
    make_room(low);
    entries_[low] = entry;
    size_ = std::min(size_ + 1, capacity_);
    if (size_ == capacity_) threshold_ = unpack(entries_[size_ - 1]).estimate;
    next_ = std::min(next_, low);
    return true;
  }

  bool has_next() const { return next_ < size_; }
  /// The one that pop_next() would return: what to prefetch for the next expansion.
  Candidate peek_next() const { return unpack(entries_[next_]); }
  Candidate pop_next() {
    const Candidate popped = unpack(entries_[next_]);
    entries_[next_] |= 1;
    while (++next_ < size_ && (entries_[next_] & 1)) {
    }
    return popped;
  }

  float threshold() const { return threshold_; }
  int size() const { return static_cast<int>(size_); }
  /// By looking at all of them: for pools of a few.
  bool contains(int32_t id) const {
    const auto same = [id](uint64_t entry) { return unpack(entry).id == id; };
    const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(size_);
    return std::any_of(entries_.begin(), end, same);
  }

  void drain(std::vector<Candidate>& out) const {
    out.clear();
    for (std::size_t i = 0; i < size_; ++i) out.push_back(unpack(entries_[i]));
  }

 private:
  /// How many of the entries are below `entry`. No branch depends on what is compared: which way
  /// the search turns cannot be predicted.
  std::size_t rank(uint64_t entry) const {
    if (size_ == 0) return 0;
    const uint64_t* first = entries_.data();
    for (std::size_t count = size_; count > 1;) {
      const std::size_t half = count / 2;
      first += half & (0 - static_cast<std::size_t>(first[half - 1] < entry));
      count -= half;
    }
    return static_cast<std::size_t>(first - entries_.data()) + (*first < entry);
  }

  /// Moves entries [low, size) up by one: a few dozen at most, for which a call of memmove is dear.
  void make_room(std::size_t low) {
    uint64_t* entries = entries_.data();
    std::size_t end = size_;
    for (; end - low >= 4; end -= 4) {
      uint64_t four[4];
      std::memcpy(four, entries + end - 4, sizeof four);
      std::memcpy(entries + end - 3, four, sizeof four);
    }
    // No loop: it would become that call.
    if ((end - low) & 2) {
      entries[end] = entries[end - 1];
      entries[end - 1] = entries[end - 2];
      end -= 2;
    }
    if ((end - low) & 1) entries[end] = entries[end - 1];
  }

  // Estimate, id, expanded: ids are below 2^31, so id and mark share the low word.
  static uint64_t pack(float estimate, int32_t id) {
    return uint64_t{sortable_key(estimate)} << 32 | static_cast<uint32_t>(id) << 1;
  }
  static Candidate unpack(uint64_t entry) {
    return {from_sortable_key(static_cast<uint32_t>(entry >> 32)),
            static_cast<int32_t>(static_cast<uint32_t>(entry) >> 1)};
  }

  std::vector<uint64_t> entries_;
  std::size_t capacity_ = 0, size_ = 0, next_ = 0;
  float threshold_ = 0;
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
