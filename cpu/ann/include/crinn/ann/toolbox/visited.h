// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <vector>

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
/// were touched.
class VisitedBitmap {
 public:
  explicit VisitedBitmap(int64_t n = 0) : words_(static_cast<std::size_t>(n + 63) / 64) {
    touched_.reserve(words_.size() / 8 + 1);
  }
  void reset() {
    if (overflow_) {
      std::fill(words_.begin(), words_.end(), uint64_t{0});
    } else {
      for (const uint32_t word : touched_) words_[word] = 0;
    }
    overflow_ = false;
    touched_.clear();
  }
  bool test(int32_t id) const { return words_[static_cast<uint32_t>(id) >> 6] >> (id & 63) & 1; }
  bool test_and_set(int32_t id) {
    const uint32_t place = static_cast<uint32_t>(id) >> 6;
    const uint64_t bit = uint64_t{1} << (id & 63);
    uint64_t& word = words_[place];
    if (word & bit) return true;
    if (word == 0) {
      if (touched_.size() < touched_.capacity()) {
        touched_.push_back(place);
      } else {
        overflow_ = true;  // so many that clearing all is cheaper
      }
    }
    word |= bit;
    return false;
  }
  void prefetch(int32_t id) const {
    __builtin_prefetch(words_.data() + (static_cast<uint32_t>(id) >> 6));
  }

 private:
  std::vector<uint64_t> words_;
  std::vector<uint32_t> touched_;
  bool overflow_ = false;
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
    if (epoch == current_) return true;
    epoch = current_;
    return false;
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

}  // namespace crinn::ann
