// SPDX-License-Identifier: Apache-2.0
#include "sweep.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "crinn/base/rng.h"

namespace crinn::harness {
namespace {

constexpr double kNoGrowth = 5e-4;
constexpr double kFineGap = 0.04;  // in recall: finer is not looked at once there are points enough
constexpr std::size_t kFirstBatch = 16;
constexpr double kProbeSeconds = 1;

class Prober {
 public:
  Prober(Runner& runner, const Scene& scene, const SweepOptions& options, uint64_t seed)
      : runner_(runner), scene_(scene), options_(options) {
    std::vector<int64_t> all(static_cast<std::size_t>(scene.query_count()));
    std::iota(all.begin(), all.end(), 0);
    Rng rng(mix_seed(seed, 0x53EE9));
    rng.shuffle(all);
    const auto count = std::min<std::size_t>(all.size(), static_cast<std::size_t>(options.queries));
    queries_.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
    first_.assign(all.end() - static_cast<std::ptrdiff_t>(std::min(all.size(), kFirstBatch)),
                  all.end());
  }

  // The same queries twice would be served from the caches: the second batch is another one.
  std::optional<Failure> measure_laziness() {
    const int ef = std::max(64, scene_.k());
    const auto fresh = runner_.search(first_, ef);
    if (!fresh) return fresh.error();
    const std::vector<int64_t> others(
        queries_.begin(),
        queries_.begin() + static_cast<std::ptrdiff_t>(std::min(queries_.size(), first_.size())));
    const auto steady = runner_.search(others, ef);
    if (!steady) return steady.error();
    result_.lazy_seconds = std::max(0.0, fresh->cpu_seconds - steady->cpu_seconds);
    result_.steady_seconds = steady->cpu_seconds;
    return std::nullopt;
  }

  std::optional<Failure> probe(int ef) {
    if (points_.contains(ef)) return std::nullopt;
    if (cpu_seconds_ > options_.cpu_seconds) {
      return Failure{Outcome::kTimedOut,
                     fmt::format("sweep: {:.1f} s of CPU time up to ef {}", cpu_seconds_, ef)};
    }
    // A slow module gets fewer queries; recall needs some.
    const double most = kProbeSeconds / std::max(slowest_, 1e-9);
    const auto count = std::min(queries_.size(), static_cast<std::size_t>(std::max(most, 50.0)));
    const std::span<const int64_t> queries(queries_.data(), count);
    const auto batch = runner_.search(queries, ef);
    if (!batch) return batch.error();
    cpu_seconds_ += batch->cpu_seconds;
    const SweepPoint point{ef, recall(scene_, queries, *batch),
                           batch->cpu_seconds / static_cast<double>(count)};
    slowest_ = std::max(slowest_, point.seconds_per_query);
    points_[ef] = point;
    result_.best_recall = std::max(result_.best_recall, point.recall);
    return std::nullopt;
  }

  std::optional<Failure> climb() {
    const double aim = std::max(options_.high, options_.top_recall);
    int flat = 0;
    for (int ef = scene_.k(); ef <= std::max(options_.max_ef, scene_.k()); ef *= 2) {
      const double before = result_.best_recall;
      if (auto failure = probe(ef)) return failure;
      if (result_.best_recall >= aim) break;
      flat = result_.best_recall < before + kNoGrowth ? flat + 1 : 0;
      if (flat == 3) break;
    }
    return std::nullopt;
  }

  // Splits the pair of neighbours in ef that overlaps the band and has the largest gap in recall,
  // until there are points enough and no gap is wide.
  std::optional<Failure> fill() {
    for (int round = 0; round < 24; ++round) {
      int at = 0;
      double largest = 0;
      for (auto left = points_.begin(); left != points_.end() && std::next(left) != points_.end();
           ++left) {
        const auto right = std::next(left);
        const double low = std::max(left->second.recall, options_.low);
        const double high = std::min(right->second.recall, options_.high);
        if (right->first - left->first < 2 || high - low <= largest) continue;
        largest = high - low;
        const int mean = static_cast<int>(
            std::lround(std::sqrt(static_cast<double>(left->first) * right->first)));
        at = std::clamp(mean, left->first + 1, right->first - 1);
      }
      if (at == 0 || (in_band() >= options_.min_points && largest <= kFineGap)) break;
      if (auto failure = probe(at)) return failure;
    }
    return std::nullopt;
  }

  Sweep take() {
    for (const auto& [ef, point] : points_) result_.points.push_back(point);
    return std::move(result_);
  }

 private:
  int in_band() const {
    return static_cast<int>(std::count_if(points_.begin(), points_.end(), [&](const auto& entry) {
      return entry.second.recall >= options_.low && entry.second.recall <= options_.high;
    }));
  }

  Runner& runner_;
  const Scene& scene_;
  SweepOptions options_;
  std::vector<int64_t> queries_, first_;
  std::map<int, SweepPoint> points_;
  Sweep result_;
  double cpu_seconds_ = 0, slowest_ = 0;
};

}  // namespace

Expected<Sweep> sweep(Runner& runner, const Scene& scene, const SweepOptions& options,
                      uint64_t seed) {
  Prober prober(runner, scene, options, seed);
  if (auto failure = prober.measure_laziness()) return tl::make_unexpected(*failure);
  if (auto failure = prober.climb()) return tl::make_unexpected(*failure);
  if (auto failure = prober.fill()) return tl::make_unexpected(*failure);
  return prober.take();
}

std::vector<SweepPoint> race_points(const Sweep& sweep, const SweepOptions& options) {
  std::vector<SweepPoint> band;
  const SweepPoint* below = nullptr;
  const SweepPoint* above = nullptr;
  for (const SweepPoint& point : sweep.points) {
    if (point.recall < options.low) {
      below = &point;
    } else if (point.recall > options.high) {
      if (above == nullptr) above = &point;
    } else {
      band.push_back(point);
    }
  }
  std::vector<SweepPoint> chosen;
  if (below != nullptr) chosen.push_back(*below);
  const std::size_t wanted = static_cast<std::size_t>(std::max(options.min_points, 2));
  if (band.size() <= wanted) {
    chosen.insert(chosen.end(), band.begin(), band.end());
  } else {
    for (std::size_t i = 0; i < wanted; ++i) {
      chosen.push_back(band[i * (band.size() - 1) / (wanted - 1)]);
    }
  }
  if (above != nullptr) chosen.push_back(*above);
  return chosen;
}

}  // namespace crinn::harness
