// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/proposer.h"

namespace crinn::train {

Origin OperatorProposer::origin() const {
  return kind_ == ProposerKind::kRandom ? Origin::kRandom : Origin::kEdit;
}

std::vector<Proposal> OperatorProposer::propose(harness::Role role,
                                                std::span<const Exemplar> exemplars, int n,
                                                uint64_t seed) {
  std::vector<Proposal> proposals;
  for (int i = 0; i < n; ++i) {
    Rng rng(mix_seed(seed, static_cast<uint64_t>(i)));
    std::string text;
    if (kind_ == ProposerKind::kRandom || exemplars.empty()) {
      text = operators_.random(role, rng);
    } else if (exemplars.size() > 1 && rng.uniform() < 0.2) {
      text = operators_.crossover(role, exemplars.back().completion,
                                  exemplars[exemplars.size() - 2].completion, rng);
    } else {
      text = operators_.edit(role, exemplars.back().completion, rng);
    }
    Proposal proposal;
    proposal.completion.tokens = codec_.encode(role, text);
    proposal.completion.log_probs.assign(proposal.completion.tokens.size(), 0.0f);
    proposal.completion.finished = true;
    proposal.decoded = codec_.decode(role, proposal.completion.tokens);
    proposals.push_back(std::move(proposal));
  }
  return proposals;
}

}  // namespace crinn::train
