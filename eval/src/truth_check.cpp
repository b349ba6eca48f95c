// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/truth_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "crinn/ann/exact_distance.h"
#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"

namespace crinn::eval {
namespace {

constexpr std::size_t kSlack = 1024;  // rows beyond 2 k that wait before they are thinned out

/// The k nearest, in order.
template <class Neighbor>
void keep_nearest(std::vector<Neighbor>& rows, std::size_t k) {
  const auto kept = std::min(rows.size(), k);
  std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(kept), rows.end());
  rows.resize(kept);
}

}  // namespace

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
      const auto distance_to = [&](int64_t id) {
        return ann::exact_distance(queries_.row(query.id), rows.row(id - first), rows.cols,
                                   metric_);
      };
      const auto k = static_cast<std::size_t>(truth_.k);
      std::vector<Neighbor>& nearest = query.nearest;
      for (int64_t id = first; id < first + rows.rows; ++id) {
        nearest.emplace_back(distance_to(id), id);
        if (nearest.size() == 2 * k + kSlack) keep_nearest(nearest, k);
      }
      keep_nearest(nearest, k);
      for (std::size_t j = 0; j < k; ++j) {
        const int64_t id = truth_.ids[static_cast<std::size_t>(query.id) * k + j];
        if (id >= first && id < first + rows.rows) query.stated[j] = distance_to(id);
      }
    }
  });
}

TruthCheck::Agreement TruthCheck::compare(const Query& query) const {
  Agreement agreement = Agreement::kSame;
  std::set<int64_t> ids;
  for (std::size_t j = 0; j < query.nearest.size(); ++j) {
    const std::size_t at = static_cast<std::size_t>(query.id * truth_.k) + j;
    const auto& [distance, id] = query.nearest[j];
    // The distance that the truth says, and that of the row that it names.
    if (truth_.distances[at] != distance || query.stated[j] != distance) return Agreement::kWrong;
    if (!ids.insert(truth_.ids[at]).second) return Agreement::kWrong;
    if (truth_.ids[at] != id) agreement = Agreement::kTied;
  }
  // Places beyond the last row.
  for (std::size_t j = query.nearest.size(); j < static_cast<std::size_t>(truth_.k); ++j) {
    const std::size_t at = static_cast<std::size_t>(query.id * truth_.k) + j;
    if (truth_.ids[at] != -1 || !std::isinf(truth_.distances[at])) return Agreement::kWrong;
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
