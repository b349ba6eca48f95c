// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crinn/base/rng.h"
#include "crinn/train/codec.h"
#include "crinn/train/grammar.h"

namespace crinn::train {

/// The codec of the embedded policy: tokens are productions of three grammars, one a role.
/// Vocabulary: pad, bos, end, sep, go, a token for each role, 32 score buckets, then every
/// choice "rule=alternative". Choices of the same name share a token across grammars.
/// Prompt: bos role [score choices sep]... go, worst exemplar first. A completion's text form is
/// Grammar::to_text of its derivation.
class GrammarCodec final : public Codec {
 public:
  /// Exemplars that a prompt can hold; of more, the best are kept.
  static constexpr int kMaxExemplars = 4;
  /// Bucket 0: below every valid reward. Buckets 1 to 31: steps of 0.1 from -1.5 on, the ends open.
  static constexpr int kScoreBuckets = 32;
  static constexpr double kScoreLow = -1.5, kScoreStep = 0.1;
  static int score_bucket(double reward);

  /// The grammars in training/grammars, compiled in.
  GrammarCodec();
  /// FOLDER/{construction,search,refinement}.grammar. Throws Error (data).
  explicit GrammarCodec(const std::filesystem::path& folder);
  GrammarCodec(Grammar construction, Grammar search, Grammar refinement);

  int vocabulary() const override { return static_cast<int>(tokens_.size()); }
  int32_t end_token() const override { return kEnd; }
  int max_completion_tokens() const override { return max_completion_; }
  int max_prompt_tokens() const override;
  std::vector<int32_t> prompt(harness::Role role,
                              std::span<const Exemplar> exemplars) const override;
  std::unique_ptr<TokenMatcher> matcher(harness::Role role) const override;
  Decoded decode(harness::Role role, std::span<const int32_t> tokens) const override;
  /// Throws Error (usage) where the text is no derivation.
  std::vector<int32_t> encode(harness::Role role, const std::string& completion) const override;

  const Grammar& grammar(harness::Role role) const {
    return grammars_[static_cast<std::size_t>(role)];
  }
  const std::string& token_name(int32_t token) const {
    return tokens_.at(static_cast<std::size_t>(token));
  }
  /// Names the content of all grammars; rows of an archive from other grammars do not decode.
  std::string version() const;

  /// The C++ header of a completion. Throws Error (usage) where the text is no derivation.
  harness::ModuleSource render(harness::Role role, const std::string& completion) const;

  /// The derivation that the head of a rendered header names, with its role. Throws Error (data)
  /// where there is none, Error (usage) where it is none of these grammars.
  std::pair<harness::Role, std::string> completion_of(const std::string& header) const;

  /// A derivation with every choice drawn by weight: uniformly, but for alternatives that the
  /// grammar marks as rare.
  std::string random_completion(harness::Role role, Rng& rng) const;
  /// 1 to 3 choices changed; what hangs below a changed choice is kept where the new alternative
  /// has a child of the same rule, else drawn. Differs from `completion`.
  std::string edit(harness::Role role, const std::string& completion, Rng& rng) const;
  /// `a` with 1 to 3 of the subtrees in which it differs replaced by b's of the same rule. Gives
  /// `a` back where the two are equal.
  std::string crossover(harness::Role role, const std::string& a, const std::string& b,
                        Rng& rng) const;

 private:
  static constexpr int32_t kPad = 0, kBos = 1, kEnd = 2, kSep = 3, kGo = 4, kRole = 5, kScore = 8;

  void index_tokens();
  int32_t token(harness::Role role, const Choice& choice) const;

  std::array<Grammar, 3> grammars_;
  std::vector<std::string> tokens_;
  /// token_of_[role][rule][production]
  std::array<std::vector<std::vector<int32_t>>, 3> token_of_;
  int max_completion_ = 0;
};

}  // namespace crinn::train
