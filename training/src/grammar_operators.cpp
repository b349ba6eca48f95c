// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <vector>

#include "crinn/train/grammar_codec.h"

namespace crinn::train {

namespace {

/// Draws an alternative by weight; `except` is left out.
int draw(const GrammarRule& rule, Rng& rng, int except = -1) {
  const auto count = static_cast<int>(rule.productions.size());
  double total = 0;
  for (int i = 0; i < count; ++i) {
    if (i != except) total += rule.productions[static_cast<std::size_t>(i)].weight;
  }
  double left = rng.uniform() * total;
  int last = except;
  for (int i = 0; i < count; ++i) {
    if (i == except) continue;
    last = i;
    left -= rule.productions[static_cast<std::size_t>(i)].weight;
    if (left < 0) break;
  }
  return last;
}

Derivation random_tree(const Grammar& grammar, int rule_index, Rng& rng) {
  const GrammarRule& rule = grammar.rules()[static_cast<std::size_t>(rule_index)];
  Derivation node{rule_index, draw(rule, rng), {}};
  for (const GrammarChild& child :
       rule.productions[static_cast<std::size_t>(node.production)].children) {
    node.children.push_back(random_tree(grammar, child.rule, rng));
  }
  return node;
}

/// Takes the subtrees out of `from` that a new alternative can go on with, in order of derivation.
Derivation change_production(const Grammar& grammar, const Derivation& from, int production,
                             Rng& rng) {
  std::vector<const Derivation*> spare;
  for (const Derivation& child : from.children) spare.push_back(&child);
  Derivation node{from.rule, production, {}};
  for (const GrammarChild& child : grammar.rules()[static_cast<std::size_t>(from.rule)]
                                       .productions[static_cast<std::size_t>(production)]
                                       .children) {
    const auto kept = std::find_if(spare.begin(), spare.end(),
                                   [&](const Derivation* old) { return old->rule == child.rule; });
    if (kept == spare.end()) {
      node.children.push_back(random_tree(grammar, child.rule, rng));
    } else {
      node.children.push_back(**kept);
      spare.erase(kept);
    }
  }
  return node;
}

void collect_choices(const Grammar& grammar, Derivation& node, std::vector<Derivation*>& out) {
  if (grammar.rules()[static_cast<std::size_t>(node.rule)].is_choice()) out.push_back(&node);
  for (Derivation& child : node.children) collect_choices(grammar, child, out);
}

void collect_by_rule(const Derivation& node, std::map<int, std::vector<const Derivation*>>& out) {
  out[node.rule].push_back(&node);
  for (const Derivation& child : node.children) collect_by_rule(child, out);
}

/// One change. Only the node itself is replaced: pointers into other parts of the tree die with it,
/// so every change collects anew.
void edit_once(const Grammar& grammar, Derivation& tree, Rng& rng) {
  std::vector<Derivation*> nodes;
  collect_choices(grammar, tree, nodes);
  if (nodes.empty()) return;
  Derivation& node = *nodes[rng.below(nodes.size())];
  const GrammarRule& rule = grammar.rules()[static_cast<std::size_t>(node.rule)];
  node = change_production(grammar, node, draw(rule, rng, node.production), rng);
}

bool swap_once(const Grammar& grammar, Derivation& tree,
               const std::map<int, std::vector<const Derivation*>>& donors, Rng& rng) {
  std::vector<Derivation*> nodes;
  collect_choices(grammar, tree, nodes);
  std::vector<std::pair<Derivation*, const Derivation*>> pairs;
  for (Derivation* node : nodes) {
    const auto found = donors.find(node->rule);
    if (node == &tree || found == donors.end()) continue;
    for (const Derivation* donor : found->second) {
      if (!(*donor == *node)) pairs.emplace_back(node, donor);
    }
  }
  if (pairs.empty()) return false;
  const auto& [node, donor] = pairs[rng.below(pairs.size())];
  *node = Derivation(*donor);
  return true;
}

}  // namespace

std::string GrammarCodec::random_completion(harness::Role role, Rng& rng) const {
  return grammar(role).to_text(random_tree(grammar(role), grammar(role).start(), rng));
}

std::string GrammarCodec::edit(harness::Role role, const std::string& completion, Rng& rng) const {
  const Derivation before = grammar(role).parse_text(completion);
  Derivation after = before;
  if (grammar(role).choices(before).empty()) return completion;
  const uint64_t changes = 1 + rng.below(3);
  for (uint64_t i = 0; i < changes; ++i) edit_once(grammar(role), after, rng);
  // Later changes may have undone earlier ones.
  while (after == before) edit_once(grammar(role), after, rng);
  return grammar(role).to_text(after);
}

std::string GrammarCodec::crossover(harness::Role role, const std::string& a, const std::string& b,
                                    Rng& rng) const {
  Derivation tree = grammar(role).parse_text(a);
  const Derivation donor = grammar(role).parse_text(b);
  std::map<int, std::vector<const Derivation*>> donors;
  collect_by_rule(donor, donors);
  const uint64_t swaps = 1 + rng.below(3);
  for (uint64_t i = 0; i < swaps; ++i) {
    if (!swap_once(grammar(role), tree, donors, rng)) break;
  }
  return grammar(role).to_text(tree);
}

}  // namespace crinn::train
