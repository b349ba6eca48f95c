// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/operators.h"

#include "crinn/train/grammar_codec.h"

namespace crinn::train {

Operators grammar_operators(const GrammarCodec& codec) {
  using harness::Role;
  return {[&codec](Role role, Rng& rng) { return codec.random_completion(role, rng); },
          [&codec](Role role, const std::string& text, Rng& rng) {
            return codec.edit(role, text, rng);
          },
          [&codec](Role role, const std::string& a, const std::string& b, Rng& rng) {
            return codec.crossover(role, a, b, rng);
          },
          [&codec](Role role) {
            const Grammar& grammar = codec.grammar(role);
            std::vector<std::string> texts;
            for (const Grammar::Example& example : grammar.examples()) {
              texts.push_back(grammar.to_text(example.derivation));
            }
            return texts;
          }};
}

}  // namespace crinn::train
