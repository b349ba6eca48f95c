// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "crinn/harness/judge.h"
#include "crinn/train/exemplars.h"
#include "crinn/train/policy.h"

namespace crinn::train {

/// Where new candidates come from.
enum class ProposerKind { kPolicy, kRandom, kEdit };

struct QueryConfig {
  int64_t train = 1000;     ///< queries that rewards are measured on (the first ones)
  int64_t held_out = 1000;  ///< queries that only the confirmation sees (the last ones)
};

/// The policy's shape. `folder` (config.json + model.safetensors) or `config` (a config.json) wins
/// over the inline shape.
struct PolicyConfig {
  std::string folder, config;
  int hidden_size = 192, layers = 4, heads = 6, kv_heads = 2, head_dim = 32,
      intermediate_size = 512;
};

/// Imitation of an editor: exemplars in, an edit or a crossover of the better one out.
struct WarmStartConfig {
  int steps = 200;      ///< 0: none
  double seconds = 75;  ///< wall limit; 0: none
  int batch = 16;
  double learning_rate = 1e-3;
  double edit_fraction = 0.8;  ///< the rest are crossovers
  std::string cache;           ///< folder that keeps warmed weights; empty: none
};

struct GrpoConfig {
  int group_size = 6, groups = 1;
  int oversample = 2;  ///< completions sampled a place; new programs go first
  double temperature = 1.0;
  Loss loss = Loss::kDapo;
  Advantage advantage = Advantage::kGroup;
  double learning_rate = 1e-4, weight_decay = 0, max_grad_norm = 1;
  double epsilon_low = 0.2, epsilon_high = 0.28, beta = 0, entropy_bonus = 0;
  int epochs = 1;
  /// Rewards of a group that differ by less than this many standard errors of measurement teach
  /// nothing: the group is skipped. A gain that small does not make a winner, either.
  double noise_tolerance = 1.0;
  double reward_floor = -1.5;  ///< rewards are raised to it before advantages are taken
  /// A candidate whose first pair of processes shows less than this share of the best ratio so far
  /// is not raced further. 0: every race is run to its end.
  double full_race_share = 0.9;
  int max_staleness = 0;  ///< updates between sampling and learning; 0: synchronous
};

/// What every phase measures before its first step.
struct SeedConfig {
  int examples = 1;  ///< the grammar's own named derivations, the first ones
  int random = 3, edits = 3;
  int carried = 3;  ///< best programs of the role's earlier phases
  /// Headers that an earlier run wrote (a champion's): their derivations come before all others in
  /// the phases of their role.
  std::vector<std::string> modules = {};
};

struct ScheduleConfig {
  std::vector<harness::Role> roles = {harness::Role::kConstruction, harness::Role::kSearch,
                                      harness::Role::kRefinement};
  int rounds = 1;
  std::map<harness::Role, int> steps = {{harness::Role::kConstruction, 100},
                                        {harness::Role::kSearch, 100},
                                        {harness::Role::kRefinement, 100}};
  /// Parts of what is left of the wall budget, by role.
  std::map<harness::Role, double> share = {{harness::Role::kConstruction, 1},
                                           {harness::Role::kSearch, 3},
                                           {harness::Role::kRefinement, 1}};
  double wall_seconds = 0;  ///< budget of the whole run, confirmation included; 0: none
};

struct ConfirmConfig {
  int verify_top = 2;  ///< best candidates measured again with fresh seeds before one is adopted
  double quarantine_ratio =
      2.5;  ///< a ratio this far over the best known is measured again at once
  int instances = 4;
  double race_seconds = 20;
  double reserve_seconds = 120;       ///< kept of the wall budget for the confirmation
  bool fresh_permutation = false;     ///< new permutation of ids: graphs are built again
  std::vector<std::string> datasets;  ///< more data sets that must not get slower
  double regression_limit = 0.02;     ///< largest tolerated loss of area on each of them
};

struct CheckpointConfig {
  int every = 1, keep = 3;
};

struct ReportConfig {
  bool tensorboard = true, html = true;
};

struct Config {
  std::string name = "run";
  std::string out = "runs";  ///< the run's folder is out/name
  uint64_t seed = 1;
  std::string dataset = "fashion-mnist";
  std::string metric;  ///< for formats that do not name one
  int k = 10;
  std::string groundtruth = "auto";  ///< auto, file, cpu or gpu
  int threads = 2;                   ///< of ground truth
  std::string work_folder;           ///< caches of the judge and of ground truth; empty: out/cache
  QueryConfig queries;
  harness::JudgeOptions judge;
  PolicyConfig policy;
  WarmStartConfig warm_start;
  ProposerKind proposer = ProposerKind::kPolicy;
  GrpoConfig grpo;
  std::vector<std::string> reuse;  ///< archives of earlier runs whose measurements count as known
  ExemplarOptions exemplars;
  SeedConfig seeds;
  ScheduleConfig schedule;
  ConfirmConfig confirm;
  CheckpointConfig checkpoint;
  ReportConfig report;

  std::filesystem::path run_folder() const { return std::filesystem::path(out) / name; }
  std::filesystem::path cache_folder() const {
    return work_folder.empty() ? std::filesystem::path(out) / "cache"
                               : std::filesystem::path(work_folder);
  }
};

/// Reads a YAML file over the defaults, then `overrides` ("grpo.group_size=8", values are YAML).
/// Throws Error (usage) with file:line for an unknown key (and the nearest known one), a value of
/// the wrong type, or a value out of range.
Config load_config(const std::filesystem::path& file, std::span<const std::string> overrides);

/// The whole effective configuration; load_config reads it back to the same.
std::string to_yaml(const Config& config);

/// Keys (dotted) whose values differ: what a resumed run must not change.
std::vector<std::string> changed_keys(const Config& a, const Config& b);

}  // namespace crinn::train
