// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/exemplars.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>

namespace crinn::train {

namespace {

/// Buckets span this many tau below the best: what is worse is hardly ever chosen, and one hopeless
/// program must not push all good ones into a single bucket.
constexpr double kReach = 5;

/// A niche whose best is further below the best of all is hopeless.
constexpr double kNicheReach = 3;

/// Places of valid rows with distinct completions: the last measurement of each counts, since a
/// re-measurement is the better estimate.
std::vector<std::size_t> usable_rows(std::span<const CandidateRow> rows) {
  std::map<std::string_view, std::size_t> last;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].outcome == harness::Outcome::kValid && !rows[i].completion.empty()) {
      last[rows[i].completion] = i;
    }
  }
  std::vector<std::size_t> usable;
  for (const auto& [completion, i] : last) usable.push_back(i);
  std::sort(usable.begin(), usable.end());
  return usable;
}

/// The members of one niche that is not hopeless.
std::vector<std::size_t> draw_niche(std::span<const CandidateRow> rows,
                                    const std::vector<std::size_t>& usable, double least,
                                    int choices, Rng& rng) {
  std::map<std::string_view, std::vector<std::size_t>> niches;
  for (const std::size_t i : usable) {
    niches[first_choices(rows[i].completion, choices)].push_back(i);
  }
  std::erase_if(niches, [&](const auto& niche) {
    return std::none_of(niche.second.begin(), niche.second.end(),
                        [&](std::size_t i) { return rows[i].reward >= least; });
  });
  return std::next(niches.begin(), static_cast<std::ptrdiff_t>(rng.below(niches.size())))->second;
}

}  // namespace

std::string_view first_choices(std::string_view completion, int count) {
  std::size_t end = 0;
  while (count-- > 0 && end != completion.npos) end = completion.find(' ', end + (end > 0));
  return completion.substr(0, end);
}

std::vector<std::size_t> choose_exemplars(std::span<const CandidateRow> rows,
                                          const ExemplarOptions& options, Rng& rng) {
  const std::vector<std::size_t> all = usable_rows(rows);
  std::vector<std::size_t> usable = all;
  if (usable.empty() || options.count <= 0) return {};
  const auto by_reward = [&](std::size_t a, std::size_t b) {
    return rows[a].reward != rows[b].reward ? rows[a].reward < rows[b].reward : a < b;
  };
  const bool niche = options.niche_share > 0 && rng.uniform() < options.niche_share;
  if (niche) {
    const double best = rows[*std::max_element(all.begin(), all.end(), by_reward)].reward;
    usable = draw_niche(rows, all, best - kNicheReach * options.tau, options.niche_choices, rng);
  }
  const double worst = rows[*std::min_element(usable.begin(), usable.end(), by_reward)].reward;
  const double high = rows[*std::max_element(usable.begin(), usable.end(), by_reward)].reward;
  const double low = std::max(worst, high - kReach * options.tau);
  const int last_bucket = std::max(options.buckets, 1) - 1;
  std::map<int, std::vector<std::size_t>> buckets;
  for (const std::size_t i : usable) {
    const double place = high > low ? std::max(0.0, (rows[i].reward - low) / (high - low)) : 0;
    buckets[std::min(static_cast<int>(place * (last_bucket + 1)), last_bucket)].push_back(i);
  }

  std::vector<std::size_t> chosen;
  while (static_cast<int>(chosen.size()) < options.count && !buckets.empty()) {
    std::vector<std::pair<int, double>> weights;
    double top = -std::numeric_limits<double>::infinity(), total = 0;
    for (const auto& [bucket, members] : buckets) {
      double mean = 0;
      for (const std::size_t i : members) mean += rows[i].reward;
      weights.emplace_back(bucket, mean / static_cast<double>(members.size()));
      top = std::max(top, weights.back().second);
    }
    // The global mean of the definition cancels out; the largest mean keeps exp() finite.
    for (auto& [bucket, weight] : weights) {
      weight = std::exp((weight - top) / options.tau);
      total += weight;
    }
    double left = rng.uniform() * total;
    int bucket = weights.back().first;
    for (const auto& [candidate, weight] : weights) {
      left -= weight;
      if (left < 0) {
        bucket = candidate;
        break;
      }
    }
    const std::vector<std::size_t>& members = buckets[bucket];
    chosen.push_back(members[rng.below(members.size())]);
    buckets.erase(bucket);
  }
  std::vector<std::size_t> best = usable;
  std::sort(best.begin(), best.end(), by_reward);
  for (auto it = best.rbegin();
       it != best.rend() && static_cast<int>(chosen.size()) < options.count; ++it) {
    if (std::find(chosen.begin(), chosen.end(), *it) == chosen.end()) chosen.push_back(*it);
  }
  if (niche) {
    std::vector<std::size_t> worse = all;
    std::erase_if(worse, [&](std::size_t i) {
      return rows[i].reward >= high || std::find(chosen.begin(), chosen.end(), i) != chosen.end();
    });
    while (static_cast<int>(chosen.size()) < options.count && !worse.empty()) {
      const auto at = static_cast<std::ptrdiff_t>(rng.below(worse.size()));
      chosen.push_back(worse[static_cast<std::size_t>(at)]);
      worse.erase(worse.begin() + at);
    }
  }
  std::sort(chosen.begin(), chosen.end(), by_reward);
  return chosen;
}

}  // namespace crinn::train
