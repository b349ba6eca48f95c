// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crinn/train/codec.h"
#include "crinn/train/grammar.h"

namespace crinn::train {

/// A pushdown automaton over a grammar: the stack holds what is still to be derived, its top always
/// a choice. Allowed are the alternatives of the top; on an empty stack, the end token.
class GrammarMatcher final : public TokenMatcher {
 public:
  /// token_of[rule][production] is the token of a choice; both are borrowed for the matcher's life.
  GrammarMatcher(const Grammar& grammar, const std::vector<std::vector<int32_t>>& token_of,
                 int32_t end_token);

  void allowed(std::span<uint8_t> mask) const override;
  /// Throws Error (usage) for a token that is not allowed.
  void advance(int32_t token) override;
  bool finished() const override { return finished_; }

  /// The choices so far.
  const std::vector<Choice>& choices() const { return choices_; }

 private:
  void push_children(int rule, int production);
  void expand_forced();

  const Grammar& grammar_;
  const std::vector<std::vector<int32_t>>& token_of_;
  int32_t end_token_;
  std::vector<int> stack_;
  std::vector<Choice> choices_;
  bool finished_ = false;
};

}  // namespace crinn::train
