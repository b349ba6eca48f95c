// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "crinn/base/rng.h"

namespace crinn::harness {

/// Deals queries in a secret order, each once before any comes again.
class Deck {
 public:
  Deck(std::vector<int64_t> shuffled, Rng& rng) : cards_(std::move(shuffled)), rng_(rng) {}
  /// Takes at most `count` of the cards that `may` accepts out of the game.
  template <class May>
  std::vector<int64_t> keep_back(int64_t count, May may) {
    std::vector<int64_t> kept;
    std::erase_if(cards_, [&](int64_t card) {
      const bool out = static_cast<int64_t>(kept.size()) < count && may(card);
      if (out) kept.push_back(card);
      return out;
    });
    next_ = 0;
    return kept;
  }
  int64_t size() const { return static_cast<int64_t>(cards_.size()); }
  /// At most as many as there are.
  std::vector<int64_t> deal(int64_t count) {
    count = std::min<int64_t>(count, static_cast<int64_t>(cards_.size()));
    if (next_ + static_cast<std::size_t>(count) > cards_.size()) {
      rng_.shuffle(cards_);
      next_ = 0;
    }
    const auto first = cards_.begin() + static_cast<std::ptrdiff_t>(next_);
    next_ += static_cast<std::size_t>(count);
    return {first, first + static_cast<std::ptrdiff_t>(count)};
  }

 private:
  std::vector<int64_t> cards_;
  std::size_t next_ = 0;
  Rng& rng_;
};

}  // namespace crinn::harness
