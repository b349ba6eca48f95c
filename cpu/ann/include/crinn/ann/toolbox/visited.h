// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <vector>

#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/select.h"
#include "crinn/base/huge_array.h"

/// Sets of visited nodes. Made once a scratch for n nodes; reset() before each query.
namespace crinn::ann {

/// test(id): whether the id is there. test_and_set(id): whether it was there already; it is there
/// afterwards. prefetch(id): brings in what these will touch.
template <class V>
concept VisitedSet = std::constructible_from<V, int64_t> &&
    requires(V& set, const V& view, int32_t id) {
  set.reset();
  { view.test(id) } -> std::same_as<bool>;
  { set.test_and_set(id) } -> std::same_as<bool>;
  view.prefetch(id);
};

/// One bit a node: n / 8 bytes, which stay in cache. reset() clears only the touched words when few
/// were touched. No branch of test_and_set depends on what is there, here and in VisitedEpochs:
/// half of a node's neighbours have been seen, and which cannot be predicted.
class VisitedBitmap {
 public:
  explicit VisitedBitmap(int64_t n = 0)
      : words_(static_cast<std::size_t>(n + 63) / 64), touched_(words_.size() / 8 + 2) {}
  void reset() {
    if (count_ == touched_.size() - 1) {  // so many that clearing all is cheaper
      std::fill(words_.begin(), words_.end(), uint64_t{0});
    } else {
      for (std::size_t i = 0; i < count_; ++i) words_[touched_[i]] = 0;
    }
    count_ = 0;
  }
  bool test(int32_t id) const { return words_[static_cast<uint32_t>(id) >> 6] >> (id & 63) & 1; }
  bool test_and_set(int32_t id) {
    const uint32_t place = static_cast<uint32_t>(id) >> 6;
    const uint64_t bit = uint64_t{1} << (id & 63);
    const uint64_t word = words_[place];
    touched_[count_] = place;
    count_ += static_cast<std::size_t>(word == 0) &
              static_cast<std::size_t>(count_ + 1 < touched_.size());
    words_[place] = word | bit;
    return word & bit;
  }
  void prefetch(int32_t id) const {
    __builtin_prefetch(words_.data() + (static_cast<uint32_t>(id) >> 6));
  }

 private:
  std::vector<uint64_t> words_;
  std::vector<uint32_t> touched_;  ///< count_ words, and room for one that may not count
  std::size_t count_ = 0;
};
static_assert(VisitedSet<VisitedBitmap>);

/// One epoch a node: reset() is one increment, and a clear every 2^bits - 1 queries.
template <std::unsigned_integral Epoch = uint16_t>
class VisitedEpochs {
 public:
  explicit VisitedEpochs(int64_t n = 0) : epochs_(static_cast<std::size_t>(n)) {}
  void reset() {
    if (current_ == std::numeric_limits<Epoch>::max()) {
      std::fill(epochs_.begin(), epochs_.end(), Epoch{0});
      current_ = 0;
    }
    ++current_;
  }
  bool test(int32_t id) const { return epochs_[static_cast<std::size_t>(id)] == current_; }
  bool test_and_set(int32_t id) {
    Epoch& epoch = epochs_[static_cast<std::size_t>(id)];
    const bool was_there = epoch == current_;
    epoch = current_;
    return was_there;
  }
  void prefetch(int32_t id) const {
    __builtin_prefetch(epochs_.data() + static_cast<std::size_t>(id));
  }

 private:
  HugeArray<Epoch> epochs_;
  Epoch current_ = 0;
};
static_assert(VisitedSet<VisitedEpochs<uint8_t>> && VisitedSet<VisitedEpochs<uint16_t>>);

/// Open addressing with linear probing: memory by the number of visited nodes, not by n. Exact: it
/// grows at half load and keeps its size for the next query.
class VisitedHash {
 public:
  explicit VisitedHash(int64_t n = 0) : slots_(n < 512 ? 1024 : 8192, kEmpty) {}
  void reset() {
    if (count_ > 0) std::fill(slots_.begin(), slots_.end(), kEmpty);
    count_ = 0;
  }
  bool test(int32_t id) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t place = hash(id) & mask; slots_[place] != kEmpty; place = (place + 1) & mask) {
      if (slots_[place] == id) return true;
    }
    return false;
  }
  bool test_and_set(int32_t id) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t place = hash(id) & mask;
    while (slots_[place] != kEmpty) {
      if (slots_[place] == id) return true;
      place = (place + 1) & mask;
    }
    slots_[place] = id;
    if (2 * ++count_ > slots_.size()) grow();
    return false;
  }
  void prefetch(int32_t id) const {
    __builtin_prefetch(slots_.data() + (hash(id) & (slots_.size() - 1)));
  }

 private:
  static constexpr int32_t kEmpty = -1;
  static std::size_t hash(int32_t id) {
    return static_cast<uint32_t>(id) * uint64_t{0x9E3779B97F4A7C15} >> 32;
  }
  void grow() {
    std::vector<int32_t> old(2 * slots_.size(), kEmpty);
    old.swap(slots_);
    count_ = 0;
    for (const int32_t id : old) {
      if (id != kEmpty) test_and_set(id);
    }
  }

  std::vector<int32_t> slots_;
  std::size_t count_ = 0;
};
static_assert(VisitedSet<VisitedHash>);

/// test_and_set of each of ids, up to `count` or the first negative one. Those that were not there,
/// in order, go to fresh, which has room for all; returns their number.
template <VisitedSet V>
int add_new(V& set, const int32_t* ids, int64_t count, int32_t* fresh) {
  int added = 0;
  for (int64_t i = 0; i < count && ids[i] >= 0; ++i) {
    fresh[added] = ids[i];
    added += !set.test_and_set(ids[i]);
  }
  return added;
}

/// test_and_set of those of ids [count] whose estimates are below limit. Those that were not there,
/// in order, go to fresh, which has room for all; returns their number. Estimates are read 16 at a
/// time. Half of a node's neighbours have been seen and which is anybody's guess: gathering the
/// others first costs no branch on it.
template <VisitedSet V, class Ids>
int add_near(V& set, const Ids& ids, const float* estimates, int64_t count, float limit,
             Candidate* fresh) {
  int added = 0;
  for (int64_t first = 0; first < count; first += 16) {
    uint32_t near = below16(estimates + first, limit, count - first);
    for (; near != 0; near &= near - 1) {
      const int64_t i = first + std::countr_zero(near);
      fresh[added] = {estimates[i], ids[i]};
      added += !set.test_and_set(ids[i]);
    }
  }
  return added;
}

}  // namespace crinn::ann
