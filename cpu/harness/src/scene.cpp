// SPDX-License-Identifier: Apache-2.0
#include "scene.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/normalize.h"
#include "crinn/base/rng.h"

namespace crinn::harness {

Scene::Scene(const Workload& workload, uint64_t seed)
    : workload_(&workload),
      seed_(seed),
      base_("base", workload.base.rows * workload.base.cols * static_cast<int64_t>(sizeof(float))),
      to_secret_(static_cast<std::size_t>(workload.base.rows)),
      from_secret_(to_secret_.size()) {
  std::iota(from_secret_.begin(), from_secret_.end(), 0);
  Rng rng(mix_seed(seed, 0x5CE7E));
  rng.shuffle(from_secret_);
  for (std::size_t i = 0; i < from_secret_.size(); ++i) {
    to_secret_[static_cast<std::size_t>(from_secret_[i])] = static_cast<int32_t>(i);
  }
  auto* rows = reinterpret_cast<float*>(base_.data());
  const bool unit = metric() == ann::Metric::kCosine;
  for (int64_t i = 0; i < n(); ++i) {
    const float* from = workload.base.row(from_secret_[static_cast<std::size_t>(i)]);
    if (unit) {
      ann::normalize(from, rows + i * d(), d());
    } else {
      std::memcpy(rows + i * d(), from, static_cast<std::size_t>(d()) * sizeof(float));
    }
  }
  base_.seal();
  if (unit) {
    unit_queries_.resize(static_cast<std::size_t>(query_count() * d()));
    for (int64_t i = 0; i < query_count(); ++i) {
      ann::normalize(workload.queries.row(i), unit_queries_.data() + i * d(), d());
    }
  }
}

const float* Scene::query(int64_t i) const {
  return unit_queries_.empty() ? workload_->queries.row(i) : unit_queries_.data() + i * d();
}

int Scene::hits(int64_t query, const int32_t* ids) const {
  const double kth = workload_->kth_distance[static_cast<std::size_t>(query)];
  const double bound = kth + 1e-6 * std::abs(kth);
  int found = 0;
  for (int j = 0; j < k(); ++j) {
    if (ids[j] < 0) continue;
    const int32_t raw = from_secret_[static_cast<std::size_t>(ids[j])];
    found += ann::exact_distance(workload_->queries.row(query), workload_->base.row(raw), d(),
                                 metric()) <= bound;
  }
  return found;
}

std::optional<std::string> Scene::fault(const int32_t* ids) const {
  return answer_fault(ids, k(), n());
}

std::optional<std::string> answer_fault(const int32_t* ids, int k, int64_t n) {
  const int expected = static_cast<int>(std::min<int64_t>(k, n));
  for (int j = 0; j < expected; ++j) {
    if (ids[j] < 0 || ids[j] >= n)
      return fmt::format("place {} holds id {}, n is {}", j, ids[j], n);
  }
  if (expected <= 16) {  // few ids: quadratic is fastest
    for (int i = 0; i < expected; ++i) {
      for (int j = 0; j < i; ++j) {
        if (ids[i] == ids[j]) return fmt::format("id {} twice, places {} and {}", ids[i], j, i);
      }
    }
  } else {
    std::vector<int32_t> sorted(ids, ids + expected);
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) return fmt::format("id {} twice", *twice);
  }
  for (int j = expected; j < k; ++j) {
    if (ids[j] != -1) {
      return fmt::format("place {} holds id {} where -1 is due (n {}, k {})", j, ids[j], n, k);
    }
  }
  return std::nullopt;
}

}  // namespace crinn::harness
