// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "crinn/train/policy.h"

namespace crinn::train {
namespace {

constexpr int kVocabulary = 600;
constexpr int32_t kEnd = 1;

/// About 3M parameters.
std::string config() {
  return R"({"model_type": "qwen3", "hidden_size": 256, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 704,
    "tie_word_embeddings": true, "vocab_size": )" +
         std::to_string(kVocabulary) + "}";
}

struct Batch {
  int prompts, completions, prompt_length, length;
};

Batch batch_of(const benchmark::State& state) {
  return {static_cast<int>(state.range(0)), static_cast<int>(state.range(1)),
          static_cast<int>(state.range(2)), static_cast<int>(state.range(3))};
}

/// No end token before the limit: every completion has the same length.
class Endless : public TokenMatcher {
 public:
  void allowed(std::span<uint8_t> mask) const override {
    for (std::size_t t = 0; t < mask.size(); ++t) mask[t] = t != kEnd;
  }
  void advance(int32_t) override {}
  bool finished() const override { return false; }
};

std::vector<std::vector<int32_t>> prompts_of(const Batch& batch) {
  std::vector<std::vector<int32_t>> prompts(static_cast<std::size_t>(batch.prompts));
  for (int i = 0; i < batch.prompts; ++i) {
    for (int j = 0; j < batch.prompt_length; ++j) {
      prompts[static_cast<std::size_t>(i)].push_back((i * 7 + j * 13) % kVocabulary);
    }
  }
  return prompts;
}

std::vector<Completion> sample(const Policy& policy, const Batch& batch) {
  return policy.sample(prompts_of(batch), batch.completions, batch.length, kEnd,
                       [](int64_t) { return std::make_unique<Endless>(); }, {1.0, 7});
}

void BM_PolicySample(benchmark::State& state) {
  const Policy policy(config(), 1);
  const Batch batch = batch_of(state);
  for (auto _ : state) benchmark::DoNotOptimize(sample(policy, batch));
  state.SetItemsProcessed(state.iterations() * batch.prompts * batch.completions * batch.length);
}

void BM_PolicyUpdate(benchmark::State& state) {
  Policy policy(config(), 1);
  const Batch batch = batch_of(state);
  const auto prompts = prompts_of(batch);
  std::vector<Trajectory> trajectories;
  for (Completion& completion : sample(policy, batch)) {
    Trajectory& trajectory = trajectories.emplace_back();
    const std::size_t i = trajectories.size() - 1;
    trajectory.prompt = prompts[i / static_cast<std::size_t>(batch.completions)];
    trajectory.completion = std::move(completion);
    trajectory.completion.finished = true;
    trajectory.advantage = i % 2 ? 1 : -1;
  }
  for (auto _ : state) {
    policy.update(trajectories, [](harness::Role) { return std::make_unique<Endless>(); }, {});
  }
  state.SetItemsProcessed(state.iterations() * batch.prompts * batch.completions * batch.length);
}

void batches(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"prompts", "n", "prompt", "length"})
      ->Args({1, 16, 1, 128})
      ->Args({64, 1, 20, 100})
      ->Args({8, 8, 300, 60})
      ->Unit(benchmark::kMillisecond);
}

BENCHMARK(BM_PolicySample)->Apply(batches);
BENCHMARK(BM_PolicyUpdate)->Apply(batches);

}  // namespace
}  // namespace crinn::train
