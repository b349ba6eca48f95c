// SPDX-License-Identifier: Apache-2.0
#include "race.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "crinn/ann/normalize.h"
#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "crinn/harness/curve.h"
#include "deck.h"
#include "race_checks.h"

namespace crinn::harness {
namespace {

constexpr int kBaseline = 0, kCandidate = 1;
// A slice is lost when the process waited for its core: three per cent, and the wake-ups.
constexpr double kWallOverCpu = 1.03, kWakeUpSeconds = 1.5e-4;
constexpr std::size_t kMinRepeats = 5;
constexpr double kLatencySeconds = 0.02;
constexpr int64_t kFewestQueries = 16;
// A tenth of the queries is kept back for the end of an instance; a point gets at least so many.
constexpr int64_t kUnseenShare = 10, kFewestKept = 16;
constexpr double kBesideBand = 0.03;  // points this far beside the band still shape its area
// A race that waits burns no CPU time: wall time is bounded, too.
constexpr double kWallOverBudget = 20, kWallSlackSeconds = 60;

using Clock = std::chrono::steady_clock;

struct Side : SideRecord {
  explicit Side(Runner started) : runner(std::move(started)) {}
  Runner runner;
  double cpu_seconds = 0;
};

/// All queries in a secret order.
std::vector<int64_t> shuffled_queries(const Scene& scene, Rng& rng) {
  std::vector<int64_t> queries(static_cast<std::size_t>(scene.query_count()));
  std::iota(queries.begin(), queries.end(), 0);
  rng.shuffle(queries);
  return queries;
}

class Instance {
 public:
  Instance(std::vector<Side> sides, const Scene& scene, const RaceOptions& options, Rng& rng)
      : sides_(std::move(sides)),
        scene_(scene),
        options_(options),
        rng_(rng),
        deck_(shuffled_queries(scene, rng), rng) {
    if (!options.check_repeats || scene.query_count() < kFewestKept * kUnseenShare) return;
    // The sweep has shown some queries to the processes that it handed on.
    unseen_ = deck_.keep_back(scene.query_count() / kUnseenShare, [&](int64_t query) {
      return !sides_[0].runner.has_seen(query) && !sides_[1].runner.has_seen(query);
    });
  }

  std::optional<RaceFailure> run() {
    const std::size_t shared = std::min(sides_[0].points.size(), sides_[1].points.size());
    for (int block = 0; block < 2 || sides_[0].cpu_seconds + sides_[1].cpu_seconds < budget();
         ++block) {
      for (const Turn& turn : shuffled_turns()) {
        if (auto failure = race_turn(turn)) return failure;
        if (options_.check_repeats && shared > 0 && rng_.below(6) == 0) {
          if (auto failure = repeat(rng_.below(shared))) return failure;
        }
      }
    }
    // Points that both sides have: each call serves both.
    while (options_.check_repeats && shared > 0 &&
           sides_[kCandidate].repeat_ratios.size() < kMinRepeats) {
      if (auto failure = repeat(rng_.below(shared))) return failure;
    }
    if (auto failure = run_first_slices_again()) return failure;
    if (auto failure = run_unseen()) return failure;
    const SideRecord &baseline = sides_[kBaseline], &candidate = sides_[kCandidate];
    std::optional<Failure> doubt = check_repeats(baseline, candidate);
    if (!doubt) doubt = check_unseen(baseline, candidate);
    if (!doubt && options_.check_hidden_work) doubt = check_hidden_work(baseline, candidate);
    if (doubt) return fail(kCandidate, *doubt);
    return measure_latencies();
  }

  /// Every query once, in the workload's order and ids. Not timed: after run().
  std::optional<RaceFailure> collect_answers(RaceInstance& out) {
    for (int side : {kBaseline, kCandidate}) {
      for (RacePoint& point : side == kBaseline ? out.baseline : out.candidate) {
        for (int64_t first = 0; first < scene_.query_count(); first += Runner::kMaxBatch) {
          std::vector<int64_t> queries(static_cast<std::size_t>(
              std::min<int64_t>(Runner::kMaxBatch, scene_.query_count() - first)));
          std::iota(queries.begin(), queries.end(), first);
          std::vector<int32_t> ids;
          const auto latency =
              sides_[static_cast<std::size_t>(side)].runner.latencies(queries, point.ef, &ids);
          if (!latency) return fail(side, latency.error());
          for (int32_t& id : ids) {
            if (id >= 0) id = scene_.from_secret()[static_cast<std::size_t>(id)];
          }
          point.ids.insert(point.ids.end(), ids.begin(), ids.end());
          point.latency_us.insert(point.latency_us.end(), latency->begin(), latency->end());
        }
      }
    }
    return std::nullopt;
  }

  int64_t candidate_private_bytes() const { return sides_[kCandidate].runner.private_bytes(); }

  RaceInstance summary(int64_t& slices, int64_t& disturbed) const {
    RaceInstance out;
    for (int s : {kBaseline, kCandidate}) {
      auto& points = s == kBaseline ? out.baseline : out.candidate;
      for (const PointState& state : sides_[static_cast<std::size_t>(s)].points) {
        points.push_back(summarize(state, scene_));
        slices += static_cast<int64_t>(state.slices.size());
        disturbed += std::count_if(state.slices.begin(), state.slices.end(),
                                   [](const Slice& slice) { return slice.disturbed; });
      }
      drop_below_gap(points);
    }
    return out;
  }

 private:
  std::optional<RaceFailure> fail(int side, const Failure& failure) {
    return RaceFailure{side == kCandidate, failure};
  }

  /// The point that each side races at.
  using Turn = std::array<std::size_t, 2>;

  /// Every point of both sides once, in random pairs: what one side does costs the other its
  /// caches, so that always the same pairs would charge a point for its opponent. The side with
  /// fewer points repeats some, for nobody runs without an opponent.
  std::vector<Turn> shuffled_turns() {
    std::vector<Turn> turns(std::max(sides_[0].points.size(), sides_[1].points.size()));
    for (const std::size_t side : {0, 1}) {
      const std::size_t count = sides_[side].points.size();
      std::vector<std::size_t> order;
      while (order.size() < turns.size()) {
        std::vector<std::size_t> more(count);
        std::iota(more.begin(), more.end(), 0);
        rng_.shuffle(more);
        more.resize(std::min(count, turns.size() - order.size()));
        order.insert(order.end(), more.begin(), more.end());
      }
      rng_.shuffle(order);
      for (std::size_t t = 0; t < turns.size(); ++t) turns[t][side] = order[t];
    }
    return turns;
  }

  PointState& state(int side, std::size_t point) {
    return sides_[static_cast<std::size_t>(side)].points[point];
  }

  template <class Queries>
  Expected<BatchResult> batch(int side, const Queries& queries, PointState& at) {
    Side& runs = sides_[static_cast<std::size_t>(side)];
    auto result = runs.runner.search(queries, at.ef);
    if (result) {
      runs.cpu_seconds += result->cpu_seconds;
      at.cpu_seconds += result->cpu_seconds;
      at.queries += static_cast<int64_t>(result->ids.size()) / scene_.k();
    }
    return result;
  }

  double budget() const { return options_.cpu_seconds / options_.instances; }

  /// As many queries as fill a slice, and never so few that wake-ups are what is measured.
  int64_t slice_queries(double seconds_per_query, double length) const {
    return std::clamp<int64_t>(
        std::llround(options_.slice_seconds / std::max(seconds_per_query, 1e-8) * length),
        kFewestQueries, Runner::kMaxBatch);
  }

  double jitter() { return 0.8 + 0.4 * rng_.uniform(); }

  std::optional<RaceFailure> race_turn(const Turn& turn) {
    const double wall = std::chrono::duration<double>(Clock::now() - start_).count();
    if (wall > kWallOverBudget * budget() + kWallSlackSeconds) {
      return fail(kCandidate, {Outcome::kTimedOut,
                               fmt::format("race: {:.0f} s of wall time for {:.1f} s of racing",
                                           wall, budget())});
    }
    // Both run for the same time, the faster one through more of the same queries. A side's caches
    // suffer for as long as the other one runs: with equal numbers of queries, a side that was
    // given one dear point more made the other 3 % slower at all of its points.
    const double length = jitter();
    std::array<int64_t, 2> counts{}, warm_ups{};
    for (std::size_t side : {0, 1}) {
      counts[side] = slice_queries(sides_[side].points[turn[side]].estimate, length);
    }
    // Nobody meets a query twice in a turn: what is dealt at once is different.
    const int64_t room = deck_.size() * 3 / 10, most = std::max(counts[0], counts[1]);
    for (std::size_t side : {0, 1}) {
      if (most > room) counts[side] = std::max<int64_t>(1, counts[side] * room / most);
      warm_ups[side] = std::max<int64_t>(1, counts[side] / 3);
    }
    const int64_t longest = std::max(counts[0], counts[1]);
    const auto needed = static_cast<std::size_t>(2 * (longest + warm_ups[0] + warm_ups[1]));
    std::vector<int64_t> dealt;
    while (dealt.size() < needed) {  // more than once from a handful of queries alone
      const auto more = deck_.deal(static_cast<int64_t>(needed - dealt.size()));
      dealt.insert(dealt.end(), more.begin(), more.end());
    }
    const std::size_t a = rng_.below(2), b = 1 - a;
    auto next_warm_up = dealt.begin() + 2 * longest;
    for (const auto& [side, first] :
         {std::pair{a, int64_t{0}}, {b, int64_t{0}}, {b, longest}, {a, longest}}) {
      const int s = static_cast<int>(side);
      PointState& at = sides_[side].points[turn[side]];
      const std::vector<int64_t> warm_up(next_warm_up, next_warm_up + warm_ups[side]);
      next_warm_up += warm_ups[side];
      const auto warm = batch(s, warm_up, at);
      if (!warm) return fail(s, warm.error());
      Slice slice;
      slice.queries.assign(dealt.begin() + first, dealt.begin() + first + counts[side]);
      auto timed = batch(s, slice.queries, at);
      if (!timed) return fail(s, timed.error());
      slice.result = std::move(*timed);
      slice.disturbed =
          slice.result.wall_seconds > kWallOverCpu * slice.result.cpu_seconds + kWakeUpSeconds;
      const double now = slice.result.cpu_seconds / static_cast<double>(counts[side]);
      at.estimate = 0.8 * at.estimate + 0.2 * now;
      at.slices.push_back(std::move(slice));
    }
    return std::nullopt;
  }

  // Mixtures of two queries each: nobody has seen them, however few queries there are.
  std::vector<float> new_vectors(int64_t count) {
    const std::vector<int64_t> first = deck_.deal(count), second = deck_.deal(count);
    const int64_t d = scene_.d();
    std::vector<float> vectors;
    for (std::size_t i = 0; i < first.size(); ++i) {
      const float share = 0.6f + 0.3f * static_cast<float>(rng_.uniform());
      const float *a = scene_.query(first[i]), *b = scene_.query(second[i]);
      for (int64_t j = 0; j < d; ++j) vectors.push_back(share * a[j] + (1 - share) * b[j]);
      float* vector = vectors.data() + vectors.size() - d;
      // Whole numbers mix to whole numbers: nothing shows that these queries are made up.
      const auto whole = [d](const float* x) {
        return std::all_of(x, x + d, [](float value) { return value == std::trunc(value); });
      };
      if (whole(a) && whole(b)) {
        std::transform(vector, vector + d, vector, [](float value) { return std::round(value); });
      }
      if (scene_.metric() == ann::Metric::kCosine) ann::normalize(vector, vector, d);
    }
    return vectors;
  }

  // A new batch twice in a row: the answers must be the same, and the second not much faster.
  std::optional<RaceFailure> repeat(std::size_t point) {
    const std::vector<float> queries = new_vectors(slice_queries(
        std::sqrt(state(kBaseline, point).estimate * state(kCandidate, point).estimate), jitter()));
    // Who comes last finds its data in the caches in the next turn.
    const int first = static_cast<int>(rng_.below(2));
    for (int side : {first, 1 - first}) {
      PointState& at = state(side, point);
      const auto once = batch(side, queries, at);
      if (!once) return fail(side, once.error());
      const auto again = batch(side, queries, at);
      if (!again) return fail(side, again.error());
      if (once->ids != again->ids) return not_reproducible(side, at.ef);
      sides_[static_cast<std::size_t>(side)].repeat_ratios.push_back(
          once->cpu_seconds / std::max(again->cpu_seconds, 1e-9));
    }
    return std::nullopt;
  }

  std::optional<RaceFailure> not_reproducible(int side, int ef) {
    return fail(side, {Outcome::kWrong,
                       fmt::format("search (ef {}): the same queries gave other results", ef)});
  }

  // State that drifts: the first slice of some points must give the same at the end.
  std::optional<RaceFailure> run_first_slices_again() {
    for (int side : {kBaseline, kCandidate}) {
      auto& points = sides_[static_cast<std::size_t>(side)].points;
      for (std::size_t i = 0; i < points.size(); i += 1 + points.size() / 3) {
        const Slice& slice = points[i].slices.front();
        const auto again = batch(side, slice.queries, points[i]);
        if (!again) return fail(side, again.error());
        if (again->ids != slice.result.ids) return not_reproducible(side, points[i].ef);
      }
    }
    return std::nullopt;
  }

  // Points of both sides where the candidate is in the band, in random order.
  std::vector<std::size_t> points_in_band() {
    std::vector<std::size_t> inside, all;
    for (std::size_t p = 0; p < std::min(sides_[0].points.size(), sides_[1].points.size()); ++p) {
      const double recall = summarize(state(kCandidate, p), scene_).recall;
      all.push_back(p);
      if (recall > options_.band_low - kBesideBand && recall < options_.band_high + kBesideBand) {
        inside.push_back(p);
      }
    }
    if (inside.empty()) inside = all;
    rng_.shuffle(inside);
    return inside;
  }

  // What was kept back, at points that both sides have: a module does not know at which.
  std::optional<RaceFailure> run_unseen() {
    if (static_cast<int64_t>(unseen_.size()) < kFewestKept) return std::nullopt;
    std::vector<std::size_t> points = points_in_band();
    points.resize(std::min(points.size(), unseen_.size() / kFewestKept));
    for (std::size_t g = 0; g < points.size(); ++g) {
      const auto at_share = [&](std::size_t share) {
        return unseen_.begin() +
               static_cast<std::ptrdiff_t>(share * unseen_.size() / points.size());
      };
      const std::vector<int64_t> queries(at_share(g), at_share(g + 1));
      const std::vector<int64_t> warm_up = deck_.deal(kFewestQueries);
      for (int side : {kBaseline, kCandidate}) {
        PointState& at = state(side, points[g]);
        const RacePoint timed = summarize(at, scene_);
        const auto warm = batch(side, warm_up, at);
        if (!warm) return fail(side, warm.error());
        const auto result = batch(side, queries, at);
        if (!result) return fail(side, result.error());
        SideRecord::Unseen& unseen = sides_[static_cast<std::size_t>(side)].unseen;
        unseen.slow_downs.push_back(
            result->cpu_seconds / (timed.seconds_per_query * static_cast<double>(queries.size())));
        for (std::size_t q = 0; q < queries.size(); ++q) {
          const int32_t* ids = result->ids.data() + q * static_cast<std::size_t>(scene_.k());
          const double reached = scene_.hits(queries[q], ids) / static_cast<double>(scene_.k());
          unseen.losses.push_back(timed.recall - reached);
        }
      }
    }
    return std::nullopt;
  }

  std::optional<RaceFailure> measure_latencies() {
    for (int side : {kBaseline, kCandidate}) {
      Side& runs = sides_[static_cast<std::size_t>(side)];
      for (PointState& at : runs.points) {
        const auto count = std::clamp<int64_t>(
            std::llround(kLatencySeconds / std::max(at.estimate, 1e-7)), 50, 1000);
        auto latency = runs.runner.latencies(deck_.deal(count), at.ef);
        if (!latency) return fail(side, latency.error());
        at.latency = std::move(*latency);
      }
    }
    return std::nullopt;
  }

  std::vector<Side> sides_;
  const Scene& scene_;
  const RaceOptions& options_;
  Rng& rng_;
  Deck deck_;
  std::vector<int64_t> unseen_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace

tl::expected<RaceResult, RaceFailure> race(RaceSide baseline, RaceSide candidate,
                                           const Scene& scene, const RaceOptions& options) {
  RaceResult result;
  if (baseline.points.empty() || candidate.points.empty()) {
    throw Error(ErrorCategory::kUsage, "race: a side without points");
  }
  Rng rng(mix_seed(options.seed, 0x4ACE));
  int64_t slices = 0, disturbed = 0;
  for (int i = 0; i < options.instances; ++i) {
    std::vector<Side> sides;
    // Which side starts first alternates: it gets the better memory. What was swept was first.
    for (int position : {0, 1}) {
      const bool is_candidate = (position + i) % 2 == 0;
      RaceSide& side = is_candidate ? candidate : baseline;
      if (side.prepared && options.instances > 1) {
        sides.emplace_back(*std::exchange(side.prepared, std::nullopt));
      } else {
        auto runner = Runner::start(side.system, scene, options.core,
                                    mix_seed(options.seed, static_cast<uint64_t>(i)),
                                    options.prepare_deadline_seconds);
        if (!runner) return tl::make_unexpected(RaceFailure{is_candidate, runner.error()});
        sides.emplace_back(std::move(*runner));
      }
      for (const SweepPoint& point : side.points) {
        sides.back().points.push_back({point.ef, point.seconds_per_query, {}, 0, 0, {}});
      }
    }
    if (i % 2 == 0) std::swap(sides[0], sides[1]);
    Instance instance(std::move(sides), scene, options, rng);
    if (auto failure = instance.run()) return tl::make_unexpected(*failure);
    result.instances.push_back(instance.summary(slices, disturbed));
    result.candidate_private_bytes =
        std::max(result.candidate_private_bytes, instance.candidate_private_bytes());
    if (options.keep_answers && i == 0) {
      if (auto failure = instance.collect_answers(result.instances.back())) {
        return tl::make_unexpected(*failure);
      }
    }
    if (area_ratio(result.instances.back(), options.band_low, options.band_high) <
        options.give_up_below) {
      break;
    }
  }
  result.dropped_fraction =
      slices > 0 ? static_cast<double>(disturbed) / static_cast<double>(slices) : 0;
  result.noise = result.dropped_fraction > 0.5   ? NoiseGrade::kUnusable
                 : result.dropped_fraction > 0.1 ? NoiseGrade::kNoisy
                                                 : NoiseGrade::kQuiet;
  return result;
}

}  // namespace crinn::harness
