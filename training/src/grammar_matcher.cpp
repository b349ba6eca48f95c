// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/grammar_matcher.h"

#include <fmt/format.h>

#include <algorithm>

#include "crinn/base/error.h"

namespace crinn::train {

GrammarMatcher::GrammarMatcher(const Grammar& grammar,
                               const std::vector<std::vector<int32_t>>& token_of, int32_t end_token)
    : grammar_(grammar), token_of_(token_of), end_token_(end_token), stack_{grammar.start()} {
  expand_forced();
}

void GrammarMatcher::push_children(int rule, int production) {
  const std::vector<GrammarChild>& children = grammar_.rules()[static_cast<std::size_t>(rule)]
                                                  .productions[static_cast<std::size_t>(production)]
                                                  .children;
  for (auto child = children.rbegin(); child != children.rend(); ++child) {
    stack_.push_back(child->rule);
  }
}

void GrammarMatcher::expand_forced() {
  while (!stack_.empty() &&
         !grammar_.rules()[static_cast<std::size_t>(stack_.back())].is_choice()) {
    const int rule = stack_.back();
    stack_.pop_back();
    push_children(rule, 0);
  }
}

void GrammarMatcher::allowed(std::span<uint8_t> mask) const {
  std::fill(mask.begin(), mask.end(), uint8_t{0});
  if (finished_) return;
  if (stack_.empty()) {
    mask[static_cast<std::size_t>(end_token_)] = 1;
    return;
  }
  for (const int32_t token : token_of_[static_cast<std::size_t>(stack_.back())]) {
    mask[static_cast<std::size_t>(token)] = 1;
  }
}

void GrammarMatcher::advance(int32_t token) {
  if (!finished_ && stack_.empty() && token == end_token_) {
    finished_ = true;
    return;
  }
  if (!finished_ && !stack_.empty()) {
    const int rule = stack_.back();
    const std::vector<int32_t>& tokens = token_of_[static_cast<std::size_t>(rule)];
    const auto found = std::find(tokens.begin(), tokens.end(), token);
    if (found != tokens.end()) {
      const int production = static_cast<int>(found - tokens.begin());
      stack_.pop_back();
      choices_.push_back({rule, production});
      push_children(rule, production);
      expand_forced();
      return;
    }
  }
  throw Error(ErrorCategory::kUsage,
              fmt::format("GrammarMatcher::advance: token {} is not allowed after {} choices",
                          token, choices_.size()));
}

}  // namespace crinn::train
