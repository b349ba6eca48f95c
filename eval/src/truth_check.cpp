// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/truth_check.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "crinn/ann/exact_distance.h"
#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"

namespace crinn::eval {

TruthCheck::TruthCheck(const GroundTruth& truth, MatrixView<const float> queries,
                       ann::Metric metric, int64_t count, uint64_t seed)
    : truth_(truth), queries_(queries), metric_(metric) {
  std::vector<int64_t> order(static_cast<std::size_t>(truth.queries));
  std::iota(order.begin(), order.end(), 0);
  Rng rng(seed);
  rng.shuffle(order);
  chosen_.resize(static_cast<std::size_t>(std::clamp<int64_t>(count, 0, truth.queries)));
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    chosen_[i].id = order[i];
    chosen_[i].stated.assign(static_cast<std::size_t>(truth.k),
                             std::numeric_limits<double>::quiet_NaN());
  }
}

void TruthCheck::add(MatrixView<const float> rows, int64_t first, int threads) {
  parallel_for(threads, static_cast<int64_t>(chosen_.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      Query& query = chosen_[static_cast<std::size_t>(at)];
      std::vector<Neighbor> all = std::move(query.nearest);
      const auto before = static_cast<int64_t>(all.size());
      for (int64_t i = 0; i < rows.rows; ++i) {
        all.emplace_back(
            ann::exact_distance(queries_.row(query.id), rows.row(i), rows.cols, metric_),
            first + i);
      }
      for (int j = 0; j < truth_.k; ++j) {
        const int64_t id = truth_.ids[static_cast<std::size_t>(query.id * truth_.k + j)];
        if (id < first || id >= first + rows.rows) continue;
        query.stated[static_cast<std::size_t>(j)] =
            all[static_cast<std::size_t>(before + id - first)].first;
      }
      const auto kept = std::min(all.size(), static_cast<std::size_t>(truth_.k));
      std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end());
      all.resize(kept);
      query.nearest = std::move(all);
      query.nearest.shrink_to_fit();
    }
  });
}

TruthCheck::Agreement TruthCheck::compare(const Query& query) const {
  Agreement agreement = Agreement::kSame;
  for (std::size_t j = 0; j < query.nearest.size(); ++j) {
    const std::size_t at = static_cast<std::size_t>(query.id * truth_.k) + j;
    const auto& [distance, id] = query.nearest[j];
    // The distance that the truth says, and that of the row that it names.
    if (truth_.distances[at] != distance || query.stated[j] != distance) return Agreement::kWrong;
    if (truth_.ids[at] != id) agreement = Agreement::kTied;
  }
  return agreement;
}

Verification TruthCheck::result() const {
  Verification result;
  result.queries = static_cast<int64_t>(chosen_.size());
  for (const Query& query : chosen_) {
    const Agreement agreement = compare(query);
    result.tied += agreement == Agreement::kTied;
    if (agreement != Agreement::kWrong) continue;
    ++result.wrong;
    if (result.first_wrong < 0 || query.id < result.first_wrong) result.first_wrong = query.id;
  }
  return result;
}

Verification verify_truth(const Dataset& dataset, int64_t count, uint64_t seed, int threads) {
  TruthCheck check(dataset.truth, dataset.queries.view(), dataset.metric, count, seed);
  check.add(dataset.base.view(), 0, threads);
  return check.result();
}

}  // namespace crinn::eval
