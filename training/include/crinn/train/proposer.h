// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crinn/train/archive.h"
#include "crinn/train/codec.h"
#include "crinn/train/config.h"
#include "crinn/train/operators.h"
#include "crinn/train/policy.h"

namespace crinn::train {

struct Proposal {
  std::vector<int32_t> prompt;  ///< empty where no policy was asked
  Completion completion;
  Decoded decoded;
};

/// Where candidates come from. Everything random depends on the seeds passed in alone, so that a
/// resumed run proposes what the interrupted one would have.
class Proposer {
 public:
  virtual ~Proposer() = default;
  virtual Origin origin() const = 0;
  virtual std::vector<Proposal> propose(harness::Role role, std::span<const Exemplar> exemplars,
                                        int n, uint64_t seed) = 0;
  /// Learns from trajectories whose advantages are set; a proposer that does not learn returns
  /// zeros.
  virtual UpdateMetrics learn(std::span<const Trajectory> batch) = 0;
  virtual int64_t policy_step() const = 0;
  /// Its whole state, into or from a folder.
  virtual void save(const std::filesystem::path& folder) const = 0;
  virtual void load(const std::filesystem::path& folder, int64_t policy_step) = 0;
};

/// random: independent derivations. edit: an edit of the best exemplar, sometimes a crossover of
/// the two best. Both are what a policy has to beat.
class OperatorProposer final : public Proposer {
 public:
  OperatorProposer(ProposerKind kind, const Codec& codec, Operators operators)
      : kind_(kind), codec_(codec), operators_(std::move(operators)) {}
  Origin origin() const override;
  std::vector<Proposal> propose(harness::Role role, std::span<const Exemplar> exemplars, int n,
                                uint64_t seed) override;
  UpdateMetrics learn(std::span<const Trajectory>) override { return {}; }
  int64_t policy_step() const override { return 0; }
  void save(const std::filesystem::path&) const override {}
  void load(const std::filesystem::path&, int64_t) override {}

 private:
  ProposerKind kind_;
  const Codec& codec_;
  Operators operators_;
};

/// Samples from a policy and improves it by GRPO.
class PolicyProposer final : public Proposer {
 public:
  PolicyProposer(Policy policy, const Codec& codec, const GrpoConfig& config)
      : policy_(std::move(policy)), codec_(codec), config_(config) {}
  Origin origin() const override { return Origin::kPolicy; }
  std::vector<Proposal> propose(harness::Role role, std::span<const Exemplar> exemplars, int n,
                                uint64_t seed) override;
  UpdateMetrics learn(std::span<const Trajectory> batch) override;
  int64_t policy_step() const override { return policy_step_; }
  void save(const std::filesystem::path& folder) const override { policy_.save(folder); }
  void load(const std::filesystem::path& folder, int64_t policy_step) override;
  Policy& policy() { return policy_; }

 private:
  Policy policy_;
  const Codec& codec_;
  GrpoConfig config_;
  int64_t policy_step_ = 0;
};

/// The policy of a configuration: weights from policy.folder, else fresh ones of the shape in
/// policy.config or of the inline shape with the codec's vocabulary.
Policy make_policy(const PolicyConfig& config, const Codec& codec, uint64_t seed);

}  // namespace crinn::train
