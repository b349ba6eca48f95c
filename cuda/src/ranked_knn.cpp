// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/ranked_knn.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

/// What a rank says when its search is over.
struct Outcome {
  int32_t failed = 0, category = 0;
  char text[504] = {};  ///< the plan, or what went wrong; ends with a zero
};

/// `mine` of every rank.
template <class T>
std::vector<T> gather(Comm& comm, const T& mine) {
  const auto bytes = comm.all_gather(std::as_bytes(std::span(&mine, 1)));
  std::vector<T> all(static_cast<std::size_t>(comm.size()));
  std::memcpy(all.data(), bytes.data(), all.size() * sizeof(T));
  return all;
}

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCategory::kUsage, "ranked_knn: " + message);
}

void require_agreement(const std::vector<RankedSearch>& ranks) {
  const auto describe = [&](std::size_t r) {
    return fmt::format("rank {} has {} queries of {} dimensions, k = {}, {}", r, ranks[r].queries,
                       ranks[r].d, ranks[r].k, to_string(ranks[r].metric));
  };
  std::string others;
  for (std::size_t r = 1; r < ranks.size(); ++r) {
    if (ranks[r].queries != ranks[0].queries || ranks[r].d != ranks[0].d ||
        ranks[r].k != ranks[0].k || ranks[r].metric != ranks[0].metric) {
      others += "; " + describe(r);
    }
  }
  if (!others.empty()) refuse(describe(0) + others);
  if (ranks[0].k < 1) refuse(fmt::format("k = {} is below 1", ranks[0].k));
}

void require_disjoint_rows(const std::vector<RankedSearch>& ranks) {
  std::vector<std::size_t> order;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].rows > 0) order.push_back(r);
  }
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return ranks[a].first_id < ranks[b].first_id; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const RankedSearch& before = ranks[order[i - 1]];
    if (before.first_id + before.rows > ranks[order[i]].first_id) {
      refuse(fmt::format("ranks {} and {} both have row {}", order[i - 1], order[i],
                         ranks[order[i]].first_id));
    }
  }
}

void copy_text(const std::string& text, Outcome& outcome) {
  text.copy(outcome.text, sizeof outcome.text - 1);
}

/// This rank's neighbours and all ranks' plans. Throws on all ranks what one of them throws.
std::pair<Neighbors, std::string> find_on_all(Comm& comm, const RankedSearch& search,
                                              const std::function<Neighbors()>& find) {
  Neighbors mine = merge_neighbors({}, search.queries, search.k);
  Outcome outcome;
  std::exception_ptr fault;
  try {
    const std::size_t places = mine.ids.size();
    if (search.rows > 0 && places > 0) mine = find();
    if (mine.ids.size() != places || mine.distances.size() != places) {
      refuse(fmt::format("{} places of neighbours, not {}", mine.ids.size(), places));
    }
    copy_text(mine.plan, outcome);
  } catch (const std::exception& error) {
    fault = std::current_exception();
    const auto* known = dynamic_cast<const Error*>(&error);
    outcome.failed = 1;
    outcome.category = static_cast<int32_t>(known ? known->category() : ErrorCategory::kDevice);
    copy_text(error.what(), outcome);
  }
  const std::vector<Outcome> all = gather(comm, outcome);
  if (fault) std::rethrow_exception(fault);
  std::string plans;
  for (std::size_t r = 0; r < all.size(); ++r) {
    const std::string text = fmt::format("rank {}: {}", r, std::string(all[r].text));
    if (all[r].failed) throw Error(static_cast<ErrorCategory>(all[r].category), text);
    if (all[r].text[0]) plans += (plans.empty() ? "" : "; ") + text;
  }
  for (int64_t& id : mine.ids) {
    if (id >= 0) id += search.first_id;
  }
  return {std::move(mine), std::move(plans)};
}

/// Places [first, first + count) of every rank, merged.
Neighbors merge_block(Comm& comm, const Neighbors& mine, std::size_t first, std::size_t count,
                      int k) {
  const std::size_t half = count * sizeof(int64_t);
  static_assert(sizeof(int64_t) == sizeof(double));
  std::vector<std::byte> block(2 * half);
  std::memcpy(block.data(), mine.ids.data() + first, half);
  std::memcpy(block.data() + half, mine.distances.data() + first, half);
  block = comm.all_gather(block);
  std::vector<Neighbors> parts(static_cast<std::size_t>(comm.size()));
  for (std::size_t r = 0; r < parts.size(); ++r) {
    parts[r].ids.resize(count);
    parts[r].distances.resize(count);
    std::memcpy(parts[r].ids.data(), block.data() + 2 * r * half, half);
    std::memcpy(parts[r].distances.data(), block.data() + (2 * r + 1) * half, half);
  }
  return merge_neighbors(parts, static_cast<int64_t>(count) / k, k);
}

}  // namespace

Neighbors ranked_knn(Comm& comm, const RankedSearch& search, const std::function<Neighbors()>& find,
                     int64_t block_bytes) {
  const std::vector<RankedSearch> ranks = gather(comm, search);
  require_agreement(ranks);
  require_disjoint_rows(ranks);
  auto [mine, plans] = find_on_all(comm, search, find);
  mine.plan = std::move(plans);
  const auto k = static_cast<std::size_t>(search.k);
  const std::size_t query_bytes = k * (sizeof(int64_t) + sizeof(double));
  const std::size_t block =
      k * std::max<std::size_t>(1, static_cast<std::size_t>(block_bytes) / query_bytes);
  for (std::size_t first = 0; first < mine.ids.size(); first += block) {
    const std::size_t count = std::min(block, mine.ids.size() - first);
    const Neighbors merged = merge_block(comm, mine, first, count, search.k);
    std::copy(merged.ids.begin(), merged.ids.end(), mine.ids.data() + first);
    std::copy(merged.distances.begin(), merged.distances.end(), mine.distances.data() + first);
  }
  return std::move(mine);
}

Neighbors exact_knn(Comm& comm, const KnnMatrix& queries, const KnnMatrix& base, int64_t first_id,
                    ann::Metric metric, int k, const KnnOptions& options) {
  return ranked_knn(comm, {queries.rows, queries.cols, k, metric, first_id, base.rows},
                    [&] { return exact_knn(queries, base, metric, k, options); });
}

}  // namespace crinn::gpu
