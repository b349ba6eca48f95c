// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include "crinn/train/config.h"

namespace crinn::train {

/// Names of an enumeration's values in a configuration, in the order of the enumerators.
template <class E>
struct EnumNames;
template <>
struct EnumNames<ProposerKind> {
  static constexpr std::array<std::string_view, 3> kNames = {"policy", "random", "edit"};
};
template <>
struct EnumNames<Loss> {
  static constexpr std::array<std::string_view, 6> kNames = {"grpo",    "bnpo", "dapo",
                                                             "dr_grpo", "gspo", "cispo"};
};
template <>
struct EnumNames<Advantage> {
  static constexpr std::array<std::string_view, 4> kNames = {"group", "leave_one_out", "rank",
                                                             "none"};
};
template <>
struct EnumNames<harness::Role> {
  static constexpr std::array<std::string_view, 3> kNames = {"construction", "search",
                                                             "refinement"};
};

/// The one list of keys: a visitor reads, writes or compares. visitor.group(name, body) enters a
/// mapping; visitor.field(name, value[, least]) handles one key, whose value is at least `least`
/// where one is given.
template <class V, class C>
void visit_judge(V& v, C& c) {
  v.field("core", c.core);
  v.field("degree", c.degree, 1);
  v.field("ef_construction", c.ef_construction, 1);
  v.field("build_threads", c.build_threads, 1);
  v.field("band_low", c.band_low, 0);
  v.field("band_high", c.band_high, 0);
  v.field("sweep_low", c.sweep_low, 0);
  v.field("sweep_high", c.sweep_high, 0);
  v.field("min_points", c.min_points, 2);
  v.field("instances", c.instances, 1);
  v.field("race_seconds", c.race_seconds, 0);
  v.field("slice_seconds", c.slice_seconds, 0);
  v.field("build_time_cap", c.build_time_cap, 0);
  v.field("memory_cap", c.memory_cap, 0);
  v.field("top_recall", c.top_recall, 0);
  v.field("compile_deadline_seconds", c.compile_deadline_seconds, 0);
  v.field("smoke_deadline_seconds", c.smoke_deadline_seconds, 0);
  v.field("build_deadline_seconds", c.build_deadline_seconds, 0);
}

template <class V, class C>
void visit_grpo(V& v, C& c) {
  v.field("group_size", c.group_size, 2);
  v.field("groups", c.groups, 1);
  v.field("oversample", c.oversample, 1);
  v.field("temperature", c.temperature, 1e-3);
  v.field("loss", c.loss);
  v.field("advantage", c.advantage);
  v.field("learning_rate", c.learning_rate, 0);
  v.field("weight_decay", c.weight_decay, 0);
  v.field("max_grad_norm", c.max_grad_norm, 0);
  v.field("epsilon_low", c.epsilon_low, 0);
  v.field("epsilon_high", c.epsilon_high, 0);
  v.field("beta", c.beta, 0);
  v.field("entropy_bonus", c.entropy_bonus, 0);
  v.field("epochs", c.epochs, 1);
  v.field("noise_tolerance", c.noise_tolerance, 0);
  v.field("reward_floor", c.reward_floor);
  v.field("full_race_share", c.full_race_share, 0);
  v.field("max_staleness", c.max_staleness, 0);
}

template <class V, class C>
void visit_config(V& v, C& c) {
  v.field("name", c.name);
  v.field("out", c.out);
  v.field("seed", c.seed, 0);
  v.field("dataset", c.dataset);
  v.field("metric", c.metric);
  v.field("k", c.k, 1);
  v.field("groundtruth", c.groundtruth);
  v.field("threads", c.threads, 1);
  v.field("work_folder", c.work_folder);
  v.group("queries", [&] {
    v.field("train", c.queries.train, 1);
    v.field("held_out", c.queries.held_out, 1);
  });
  v.group("judge", [&] { visit_judge(v, c.judge); });
  v.group("policy", [&] {
    v.field("folder", c.policy.folder);
    v.field("config", c.policy.config);
    v.field("hidden_size", c.policy.hidden_size, 1);
    v.field("layers", c.policy.layers, 1);
    v.field("heads", c.policy.heads, 1);
    v.field("kv_heads", c.policy.kv_heads, 1);
    v.field("head_dim", c.policy.head_dim, 2);
    v.field("intermediate_size", c.policy.intermediate_size, 1);
  });
  v.group("warm_start", [&] {
    v.field("steps", c.warm_start.steps, 0);
    v.field("seconds", c.warm_start.seconds, 0);
    v.field("batch", c.warm_start.batch, 1);
    v.field("learning_rate", c.warm_start.learning_rate, 0);
    v.field("edit_fraction", c.warm_start.edit_fraction, 0);
    v.field("cache", c.warm_start.cache);
  });
  v.field("proposer", c.proposer);
  v.group("grpo", [&] { visit_grpo(v, c.grpo); });
  v.field("reuse", c.reuse);
  v.group("exemplars", [&] {
    v.field("count", c.exemplars.count, 0);
    v.field("buckets", c.exemplars.buckets, 1);
    v.field("tau", c.exemplars.tau, 1e-6);
    v.field("niche_share", c.exemplars.niche_share, 0);
    v.field("niche_choices", c.exemplars.niche_choices, 1);
  });
  v.group("seeds", [&] {
    v.field("examples", c.seeds.examples, 0);
    v.field("random", c.seeds.random, 0);
    v.field("edits", c.seeds.edits, 0);
    v.field("carried", c.seeds.carried, 0);
    v.field("modules", c.seeds.modules);
  });
  v.group("schedule", [&] {
    v.field("roles", c.schedule.roles);
    v.field("rounds", c.schedule.rounds, 1);
    v.group("steps", [&] {
      for (auto& [role, steps] : c.schedule.steps) v.field(harness::to_string(role), steps, 0);
    });
    v.group("share", [&] {
      for (auto& [role, share] : c.schedule.share) v.field(harness::to_string(role), share, 0);
    });
    v.field("wall_seconds", c.schedule.wall_seconds, 0);
  });
  v.group("confirm", [&] {
    v.field("verify_top", c.confirm.verify_top, 1);
    v.field("quarantine_ratio", c.confirm.quarantine_ratio, 1);
    v.field("instances", c.confirm.instances, 1);
    v.field("race_seconds", c.confirm.race_seconds, 0);
    v.field("reserve_seconds", c.confirm.reserve_seconds, 0);
    v.field("fresh_permutation", c.confirm.fresh_permutation);
    v.field("datasets", c.confirm.datasets);
    v.field("regression_limit", c.confirm.regression_limit, 0);
  });
  v.group("checkpoint", [&] {
    v.field("every", c.checkpoint.every, 1);
    v.field("keep", c.checkpoint.keep, 1);
  });
  v.group("report", [&] {
    v.field("tensorboard", c.report.tensorboard);
    v.field("html", c.report.html);
  });
}

}  // namespace crinn::train
