// SPDX-License-Identifier: Apache-2.0
#include "shards.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <tuple>

#include "crinn/base/error.h"

namespace crinn::gpu {

Neighbors merge_neighbors(const std::vector<Neighbors>& parts, int64_t queries, int k) {
  Neighbors merged;
  merged.ids.assign(static_cast<std::size_t>(queries * k), -1);
  merged.distances.assign(merged.ids.size(), std::numeric_limits<double>::infinity());
  std::vector<int64_t> next(parts.size());
  for (int64_t q = 0; q < queries; ++q) {
    std::fill(next.begin(), next.end(), q * k);
    for (int64_t place = q * k; place < (q + 1) * k; ++place) {
      const Neighbors* nearest = nullptr;
      std::size_t from = 0;
      for (std::size_t p = 0; p < parts.size(); ++p) {
        if (next[p] == (q + 1) * k) continue;
        const auto at = static_cast<std::size_t>(next[p]);
        if (parts[p].ids[at] < 0) continue;
        const auto best = static_cast<std::size_t>(next[from]);
        if (nearest && std::tie(nearest->distances[best], nearest->ids[best]) <
                           std::tie(parts[p].distances[at], parts[p].ids[at])) {
          continue;
        }
        nearest = &parts[p];
        from = p;
      }
      if (!nearest) break;
      const auto best = static_cast<std::size_t>(next[from]++);
      merged.ids[static_cast<std::size_t>(place)] = nearest->ids[best];
      merged.distances[static_cast<std::size_t>(place)] = nearest->distances[best];
    }
  }
  return merged;
}

Neighbors search_shards(int64_t n, int64_t queries, int k, int shards, const SearchShard& search) {
  if (n == 0 || queries == 0) return merge_neighbors({}, queries, k);
  const auto count = static_cast<int>(std::clamp<int64_t>(shards, 1, n));
  std::vector<Neighbors> parts(static_cast<std::size_t>(count));
  std::vector<std::exception_ptr> faults(parts.size());
  const auto work = [&](int shard) {
    const auto at = static_cast<std::size_t>(shard);
    const int64_t first = n * shard / count, end = n * (shard + 1) / count;
    try {
      parts[at] = search(shard, first, end - first);
      for (int64_t& id : parts[at].ids) {
        if (id >= 0) id += first;
      }
    } catch (...) {
      faults[at] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int shard = 1; shard < count; ++shard) others.emplace_back(work, shard);
    work(0);
  }
  for (const std::exception_ptr& fault : faults) {
    if (fault) std::rethrow_exception(fault);
  }
  if (count == 1) return std::move(parts[0]);
  Neighbors merged = merge_neighbors(parts, queries, k);
  for (const Neighbors& part : parts) {
    if (!merged.plan.empty()) merged.plan += "; ";
    merged.plan += part.plan;
  }
  return merged;
}

void check_knn(const KnnMatrix& queries, const KnnMatrix& base, int k, const KnnOptions& options) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorCategory::kUsage, "gpu::exact_knn: " + message);
  };
  if (k < 1) refuse("k = " + std::to_string(k) + " is below 1");
  if (base.rows > std::numeric_limits<int32_t>::max()) {
    refuse(std::to_string(base.rows) + " base rows: more than 2^31 - 1");
  }
  if (base.rows > 0 && queries.rows > 0 &&
      (base.cols != queries.cols || base.cols < 1 || base.cols > 1 << 20)) {
    refuse("base has " + std::to_string(base.cols) + " dimensions, queries have " +
           std::to_string(queries.cols) + " (1 to 2^20 are supported)");
  }
  if (options.memory_bytes < 0) {
    refuse(std::to_string(options.memory_bytes) + " bytes of memory");
  }
  if (options.devices.empty()) refuse("no device is named");
  const std::set<int> distinct(options.devices.begin(), options.devices.end());
  if (distinct.size() != options.devices.size()) refuse("a device is named twice");
}

}  // namespace crinn::gpu
