// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/matrix_view.h"

/// The contracts of the three modules of an index. A module is one self-contained header of at
/// most 300 lines that defines `Construction`, `Search` or `Refinement` in a namespace
/// `crinn::ann::NAME`; it includes only `crinn/ann/toolbox/*.h`, this header and the standard
/// library's algorithms, containers and numerics.
namespace crinn::ann {

/// Told how far a build is: `done` of `total` nodes or steps of what it does just now. A build does
/// several things in turn: another total, or a smaller `done`, begins the next one. Called by the
/// thread that builds.
using BuildProgress = std::function<void(int64_t done, int64_t total)>;

/// Tells `progress`, if anybody watches.
inline void report(const BuildProgress* progress, int64_t done, int64_t total) {
  if (progress != nullptr && *progress) (*progress)(done, total);
}

/// What a construction module is given. Everything in it is borrowed for the time of the call.
struct BuildInput {
  MatrixView<const float> base;  ///< [n, d] row-major, n >= 1; unit rows under kCosine
  Metric metric = Metric::kL2;
  int degree = 32;                          ///< R: an upper bound of every node's degree
  int ef_construction = 200;                ///< effort of the build
  uint64_t seed = 0;                        ///< same seed, same graph, at any number of threads
  int threads = 1;                          ///< 1 inside the judge
  const BuildProgress* progress = nullptr;  ///< see report()
};

/// Adjacency [n, degree] int32, rows padded at their end with -1. Row numbers, neighbours and
/// entry points are ids of base vectors.
struct Graph {
  HugeArray<int32_t> neighbors;
  int64_t n = 0;
  int degree = 0;
  std::vector<int32_t> entry_points;  ///< at least one; the best first
  std::vector<int32_t>
      order;  ///< empty, or a permutation: order[p] is the id to lay out at place p

  Graph() = default;
  Graph(int64_t n, int degree)
      : neighbors(static_cast<std::size_t>(n) * static_cast<std::size_t>(degree)),
        n(n),
        degree(degree) {
    for (int32_t& id : neighbors) id = -1;
  }
  int32_t* row(int64_t i) { return neighbors.data() + i * degree; }
  const int32_t* row(int64_t i) const { return neighbors.data() + i * degree; }
};

/// A borrowed Graph.
struct GraphView {
  MatrixView<const int32_t> neighbors;  ///< [n, degree], -1 padded
  std::span<const int32_t> entry_points;
  std::span<const int32_t> order;

  GraphView() = default;
  GraphView(MatrixView<const int32_t> neighbors, std::span<const int32_t> entry_points,
            std::span<const int32_t> order)
      : neighbors(neighbors), entry_points(entry_points), order(order) {}
  GraphView(const Graph& graph)  // NOLINT: a view is meant to be made from its owner
      : neighbors(graph.neighbors.data(), graph.n, graph.degree),
        entry_points(graph.entry_points),
        order(graph.order) {}
};

/// What a search module is prepared from. base and graph outlive the module.
struct SearchInput {
  MatrixView<const float> base;  ///< [n, d] row-major; unit rows under kCosine
  Metric metric = Metric::kL2;
  GraphView graph;
  uint64_t seed = 0;
  int threads = 1;  ///< for preparing only
};

/// One result of a search: an id and the module's own estimate of its distance (smaller is nearer).
struct Candidate {
  float estimate;
  int32_t id;
};

/// The order of candidates: by estimate, ties by id. An object, so that sorts inline it.
inline constexpr auto nearer = [](const Candidate& a, const Candidate& b) {
  return a.estimate < b.estimate || (a.estimate == b.estimate && a.id < b.id);
};

/// What a refinement module is prepared from. base outlives the module.
struct RefinementInput {
  MatrixView<const float> base;  ///< [n, d] row-major; unit rows under kCosine
  Metric metric = Metric::kL2;
  int threads = 1;  ///< for preparing only
};

template <class C>
concept ConstructionModule = requires(const BuildInput& input) {
  { C::build(input) } -> std::same_as<Graph>;
};

/// S is immutable after its constructor; everything that a query changes lives in S::Scratch, one a
/// thread. search() clears `out` and appends at least min(k, reachable nodes) candidates with
/// unique ids, nearest first by its own estimate. `ef` >= k is an effort knob with no promised
/// meaning. `scratch.distance_count` (uint64_t) grows by the number of distances estimated.
/// kExactEstimates says that every estimate is the exact fp32 distance of the metric.
template <class S>
concept SearchModule = std::constructible_from<S, const SearchInput&> &&
    requires(const S& search, typename S::Scratch& scratch, const float* query, int k, int ef,
             std::vector<Candidate>& out) {
  { S::kExactEstimates } -> std::convertible_to<bool>;
  { search.make_scratch() } -> std::same_as<typename S::Scratch>;
  { scratch.distance_count } -> std::convertible_to<uint64_t>;
  search.search(query, k, ef, scratch, out);
};

/// R is immutable after its constructor. refine() writes the ids of the min(k, candidates) nearest,
/// nearest first, unique, and returns their number. It may reorder `candidates`. `exact` repeats
/// the search module's kExactEstimates: nobody pays twice for an exact distance.
template <class R>
concept RefinementModule = std::constructible_from<R, const RefinementInput&> &&
    requires(const R& refinement, typename R::Scratch& scratch, const float* query,
             std::span<Candidate> candidates, bool exact, int k, int32_t* ids) {
  { refinement.make_scratch() } -> std::same_as<typename R::Scratch>;
  { refinement.refine(query, candidates, exact, k, scratch, ids) } -> std::same_as<int>;
};

/// Writes exactly min(k, n) unique ids: what a refinement left open is filled with the lowest ids
/// that are not there yet, and places from n on with -1.
inline void fill_missing(int32_t* ids, int found, int k, int64_t n) {
  int32_t next = 0;
  for (int i = found; i < k; ++i) {
    bool taken = true;
    while (taken && next < n) {
      taken = false;
      for (int j = 0; j < i; ++j) taken = taken || ids[j] == next;
      if (taken) ++next;
    }
    ids[i] = next < n ? next++ : -1;
  }
}

/// Search and refinement over a borrowed base and graph: one query from vector to ids. This is what
/// the judge races and what Index owns.
template <SearchModule S, RefinementModule R>
class Pipeline {
 public:
  struct Scratch {
    typename S::Scratch search;
    typename R::Scratch refinement;
    std::vector<Candidate> candidates;
  };

  explicit Pipeline(const SearchInput& input)
      : n_(input.base.rows),
        search_(input),
        refinement_(RefinementInput{input.base, input.metric, input.threads}) {}

  Scratch make_scratch() const { return {search_.make_scratch(), refinement_.make_scratch(), {}}; }

  /// query [d] (unit norm under kCosine) -> ids [k], nearest first, padded with -1 where k > n.
  void search(const float* query, int k, int ef, Scratch& scratch, int32_t* ids) const {
    search_.search(query, k, ef < k ? k : ef, scratch.search, scratch.candidates);
    const int found = refinement_.refine(query, scratch.candidates, S::kExactEstimates, k,
                                         scratch.refinement, ids);
    if (found < k) fill_missing(ids, found, k, n_);
  }

 private:
  int64_t n_;
  S search_;
  R refinement_;
};

}  // namespace crinn::ann
