// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/grammar_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "crinn/base/error.h"
#include "crinn/base/hash.h"
#include "crinn/train/grammar_matcher.h"

namespace crinn::train {

/// Texts of training/grammars/*.grammar; written by the build.
namespace embedded {
extern const std::string_view kConstruction, kSearch, kRefinement;
}

namespace {

constexpr std::array kRoles = {harness::Role::kConstruction, harness::Role::kSearch,
                               harness::Role::kRefinement};
constexpr std::array<const char*, 3> kRoleNames = {"construction", "search", "refinement"};

}  // namespace

int GrammarCodec::score_bucket(double reward) {
  // Valid rewards are >= -3, invalid ones <= -3.5 (eval/reward.h).
  if (!(reward > -3.25)) return 0;
  const double step = std::floor((reward - kScoreLow) / kScoreStep);
  return 1 + static_cast<int>(std::clamp(step, 0.0, static_cast<double>(kScoreBuckets - 2)));
}

GrammarCodec::GrammarCodec()
    : GrammarCodec(Grammar::parse(embedded::kConstruction, "construction.grammar"),
                   Grammar::parse(embedded::kSearch, "search.grammar"),
                   Grammar::parse(embedded::kRefinement, "refinement.grammar")) {}

GrammarCodec::GrammarCodec(const std::filesystem::path& folder)
    : GrammarCodec(Grammar::load(folder / "construction.grammar"),
                   Grammar::load(folder / "search.grammar"),
                   Grammar::load(folder / "refinement.grammar")) {}

GrammarCodec::GrammarCodec(Grammar construction, Grammar search, Grammar refinement)
    : grammars_{std::move(construction), std::move(search), std::move(refinement)} {
  index_tokens();
}

void GrammarCodec::index_tokens() {
  tokens_ = {"<pad>", "<bos>", "<end>", "<sep>", "<go>"};
  for (const char* role : kRoleNames) tokens_.push_back(fmt::format("<{}>", role));
  for (int i = 0; i < kScoreBuckets; ++i) tokens_.push_back(fmt::format("<score {}>", i));
  std::map<std::string, int32_t> known;
  for (std::size_t role = 0; role < grammars_.size(); ++role) {
    const std::vector<GrammarRule>& rules = grammars_[role].rules();
    token_of_[role].resize(rules.size());
    for (std::size_t rule = 0; rule < rules.size(); ++rule) {
      if (!rules[rule].is_choice()) continue;
      for (std::size_t production = 0; production < rules[rule].productions.size(); ++production) {
        const std::string name =
            grammars_[role].choice_name({static_cast<int>(rule), static_cast<int>(production)});
        const auto [entry, fresh] = known.emplace(name, vocabulary());
        if (fresh) tokens_.push_back(name);
        token_of_[role][rule].push_back(entry->second);
      }
    }
    max_completion_ = std::max(max_completion_, grammars_[role].max_choices() + 1);
  }
}

int32_t GrammarCodec::token(harness::Role role, const Choice& choice) const {
  return token_of_[static_cast<std::size_t>(role)][static_cast<std::size_t>(choice.rule)]
                  [static_cast<std::size_t>(choice.production)];
}

int GrammarCodec::max_prompt_tokens() const {
  // bos, role and go; an exemplar's score and sep stand for its end token and one more.
  return 3 + kMaxExemplars * (max_completion_ + 1);
}

std::vector<int32_t> GrammarCodec::prompt(harness::Role role,
                                          std::span<const Exemplar> exemplars) const {
  std::vector<const Exemplar*> order;
  for (const Exemplar& exemplar : exemplars) order.push_back(&exemplar);
  std::stable_sort(order.begin(), order.end(),
                   [](const Exemplar* a, const Exemplar* b) { return a->reward < b->reward; });
  if (order.size() > kMaxExemplars) order.erase(order.begin(), order.end() - kMaxExemplars);

  std::vector<int32_t> tokens = {kBos, kRole + static_cast<int32_t>(role)};
  for (const Exemplar* exemplar : order) {
    tokens.push_back(kScore + score_bucket(exemplar->reward));
    std::vector<int32_t> body = encode(role, exemplar->completion);
    body.back() = kSep;
    tokens.insert(tokens.end(), body.begin(), body.end());
  }
  tokens.push_back(kGo);
  return tokens;
}

std::unique_ptr<TokenMatcher> GrammarCodec::matcher(harness::Role role) const {
  const std::size_t r = static_cast<std::size_t>(role);
  return std::make_unique<GrammarMatcher>(grammars_[r], token_of_[r], kEnd);
}

Decoded GrammarCodec::decode(harness::Role role, std::span<const int32_t> tokens) const {
  Decoded decoded;
  try {
    const std::size_t r = static_cast<std::size_t>(role);
    GrammarMatcher matcher(grammars_[r], token_of_[r], kEnd);
    for (const int32_t token : tokens) matcher.advance(token);
    if (!matcher.finished()) {
      decoded.error =
          fmt::format("the completion ends after {} tokens, before its end token", tokens.size());
      return decoded;
    }
    const Derivation tree = grammar(role).tree(matcher.choices());
    decoded.completion = grammar(role).to_text(tree);
    decoded.source = render(role, decoded.completion);
    decoded.ok = true;
  } catch (const Error& error) {
    decoded.error = error.what();
  }
  return decoded;
}

std::vector<int32_t> GrammarCodec::encode(harness::Role role, const std::string& completion) const {
  std::vector<int32_t> tokens;
  for (const Choice& choice : grammar(role).choices(grammar(role).parse_text(completion))) {
    tokens.push_back(token(role, choice));
  }
  tokens.push_back(kEnd);
  return tokens;
}

std::pair<harness::Role, std::string> GrammarCodec::completion_of(const std::string& header) const {
  for (std::size_t r = 0; r < grammars_.size(); ++r) {
    const std::string head = fmt::format("// A derivation of the {} grammar:\n", kRoleNames[r]);
    std::size_t at = header.find(head);
    if (at == std::string::npos) continue;
    constexpr std::string_view kIndent = "//   ";
    std::string text;
    for (at += head.size(); header.compare(at, kIndent.size(), kIndent) == 0;) {
      const std::size_t end = std::min(header.find('\n', at), header.size());
      text +=
          (text.empty() ? "" : " ") + header.substr(at + kIndent.size(), end - at - kIndent.size());
      at = std::min(end + 1, header.size());
    }
    const auto role = static_cast<harness::Role>(r);
    return {role, grammars_[r].to_text(grammars_[r].parse_text(text))};
  }
  throw Error(ErrorCategory::kData,
              "GrammarCodec::completion_of: no line '// A derivation of the ... grammar:'");
}

harness::ModuleSource GrammarCodec::render(harness::Role role,
                                           const std::string& completion) const {
  return {role, std::string(kRoleNames[static_cast<std::size_t>(role)]) + " derivation",
          grammar(role).render(grammar(role).parse_text(completion))};
}

std::string GrammarCodec::version() const {
  Sha256 hash;
  for (const harness::Role role : kRoles) {
    for (const GrammarRule& rule : grammar(role).rules()) {
      for (const Production& production : rule.productions) {
        hash.update(rule.name).update("=").update(production.name);
        for (const GrammarChild& child : production.children) {
          hash.update(" ")
              .update(child.label)
              .update(":")
              .update(grammar(role).rules()[static_cast<std::size_t>(child.rule)].name);
        }
        for (const GrammarPart& part : production.parts) {
          hash.update("\n").update(part.name).update(": ").update(part.text);
        }
        hash.update("\n\n");
      }
    }
  }
  return hash.hex();
}

}  // namespace crinn::train
