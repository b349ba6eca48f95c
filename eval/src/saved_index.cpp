// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/saved_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/indexes.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"
#include "crinn/eval/ground_truth.h"

namespace crinn::eval {
namespace {

template <class Index>
class Saved final : public SavedIndex {
 public:
  Saved(std::string_view system, Index index) : system_(system), index_(std::move(index)) {}
  std::string_view system() const override { return system_; }
  ann::Metric metric() const override { return index_.metric(); }
  const ann::IndexParams& params() const override { return index_.params(); }
  MatrixView<const float> base() const override { return index_.base(); }
  void save(const std::filesystem::path& path) const override { index_.save(path); }
  void search(MatrixView<const float> queries, int k, int ef, int threads,
              int32_t* ids) const override {
    index_.search(queries, k, ef, threads, ids);
  }

 private:
  std::string_view system_;
  Index index_;
};

/// Calls visit.operator()<Index>(name) for each system until one returns an index.
template <class Visit>
std::unique_ptr<SavedIndex> first_of_systems(Visit visit) {
  if (auto index = visit.template operator()<ann::BaselineIndex>("baseline")) return index;
  return visit.template operator()<ann::ChampionIndex>("champion");
}

/// Random rows of the base, and the distance of each one's k-th neighbour that is not itself.
struct Sample {
  Matrix queries;
  std::vector<int64_t> ids;
  std::vector<double> kth;
};

Sample draw_sample(const SavedIndex& index, int k, int64_t count, uint64_t seed, int threads) {
  const MatrixView<const float> base = index.base();
  Rng rng(seed);
  Sample sample;
  std::vector<int64_t> all(static_cast<std::size_t>(base.rows));
  for (int64_t i = 0; i < base.rows; ++i) all[static_cast<std::size_t>(i)] = i;
  sample.queries = Matrix(count, base.cols);
  for (int64_t i = 0; i < count; ++i) {
    const auto left = static_cast<uint64_t>(base.rows - i);
    const auto drawn = static_cast<std::size_t>(i) + static_cast<std::size_t>(rng.below(left));
    std::swap(all[static_cast<std::size_t>(i)], all[drawn]);
    const int64_t id = all[static_cast<std::size_t>(i)];
    sample.ids.push_back(id);
    std::copy_n(base.row(id), base.cols, sample.queries.row(i));
  }
  // Itself is one of its k + 1 nearest, or has as many duplicates: then their distance is the same.
  const GroundTruth truth = exact_knn(base, sample.queries.view(), index.metric(), k + 1, threads);
  for (int64_t q = 0; q < count; ++q) {
    int others = 0;
    for (int j = 0; j <= k && others < k; ++j) {
      const auto at = static_cast<std::size_t>(q * (k + 1) + j);
      if (truth.ids[at] == sample.ids[static_cast<std::size_t>(q)]) continue;
      if (++others == k) sample.kth.push_back(truth.distances[at]);
    }
  }
  return sample;
}

double recall_at(const SavedIndex& index, const Sample& sample, int k, int ef, int threads) {
  const int64_t count = sample.queries.rows();
  std::vector<int32_t> ids(static_cast<std::size_t>(count * (k + 1)));
  index.search(sample.queries.view(), k + 1, std::max(ef, k + 1), threads, ids.data());
  int64_t found = 0;
  for (int64_t q = 0; q < count; ++q) {
    const double limit = sample.kth[static_cast<std::size_t>(q)];
    int hits = 0;
    for (int j = 0; j <= k; ++j) {
      const int32_t id = ids[static_cast<std::size_t>(q * (k + 1) + j)];
      if (id < 0 || id == sample.ids[static_cast<std::size_t>(q)]) continue;
      hits += ann::exact_distance(sample.queries.row(q), index.base().row(id), index.base().cols,
                                  index.metric()) <= limit + 1e-6 * std::abs(limit);
    }
    found += std::min(hits, k);
  }
  return static_cast<double>(found) / static_cast<double>(count * k);
}

}  // namespace

std::unique_ptr<SavedIndex> build_index(std::string_view system, MatrixView<const float> base,
                                        ann::Metric metric, const ann::IndexParams& params,
                                        int threads, const ann::BuildProgress& progress) {
  auto index =
      first_of_systems([&]<class Index>(std::string_view name) -> std::unique_ptr<SavedIndex> {
        if (name != system) return nullptr;
        return std::make_unique<Saved<Index>>(
            name, Index::build(base, metric, params, threads, progress));
      });
  if (!index) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("build_index: '{}' is none of: baseline, champion", system));
  }
  return index;
}

std::unique_ptr<SavedIndex> open_index(const std::filesystem::path& path, int threads) {
  ann::IndexData data = ann::load_index(path);
  const std::string modules =
      fmt::format("{}, {}, {}", data.construction, data.search, data.refinement);
  auto index =
      first_of_systems([&]<class Index>(std::string_view name) -> std::unique_ptr<SavedIndex> {
        if (!Index::saved(data)) return nullptr;
        return std::make_unique<Saved<Index>>(name, Index::adopt(std::move(data), path, threads));
      });
  if (!index) {
    throw Error(ErrorCategory::kData,
                fmt::format("open_index: {}: its modules ({}) are neither the baseline's nor the "
                            "champion's",
                            path.string(), modules));
  }
  return index;
}

TunedEffort tune_effort(const SavedIndex& index, int k, double recall, int64_t sample_count,
                        uint64_t seed, int threads) {
  const int64_t n = index.base().rows;
  if (!(recall > 0 && recall <= 1) || k < 1 || k >= n || sample_count < 1) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("tune_effort: recall {:g} at k {} on a sample of {} of {} vectors",
                            recall, k, sample_count, n));
  }
  const Sample sample = draw_sample(index, k, std::min(sample_count, n), seed, threads);
  double best = 0;
  int below = k, above = 0, flat = 0;
  for (int64_t ef = k + 1; above == 0; ef = std::min(2 * ef, n)) {
    const double before = best;
    best = std::max(best, recall_at(index, sample, k, static_cast<int>(ef), threads));
    flat = best > before ? 0 : flat + 1;
    if (best >= recall) {
      above = static_cast<int>(ef);
    } else if (ef >= n || flat == 3) {
      throw Error(ErrorCategory::kUsage,
                  fmt::format("tune_effort: recall {:g} at k {} is out of reach: {:.4f} at ef {}",
                              recall, k, best, ef));
    } else {
      below = static_cast<int>(ef);
    }
  }
  double reached = best;
  while (above - below > std::max(1, above / 20)) {
    const int ef = below + (above - below) / 2;
    const double at = recall_at(index, sample, k, ef, threads);
    if (at >= recall) {
      above = ef;
      reached = at;
    } else {
      below = ef;
    }
  }
  return {above, reached};
}

}  // namespace crinn::eval
