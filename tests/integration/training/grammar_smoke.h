// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "crinn/ann/exact_distance.h"
#include "crinn/ann/module.h"
#include "crinn/ann/toolbox/beam.h"
#include "crinn/ann/toolbox/connect.h"
#include "crinn/ann/toolbox/distance.h"
#include "crinn/base/rng.h"

/// What every derivation of a grammar must do: the test compiles this with each of them. Functions
/// return what is wrong, or an empty text.
namespace crinn::ann::smoke {

/// A small data set, its exact answers, and a graph that reaches every node.
struct Case {
  std::string name;
  Metric metric = Metric::kL2;
  int64_t n = 0, d = 0;
  std::vector<float> base, queries;
  Graph graph;

  MatrixView<const float> view() const { return {base.data(), n, d}; }
  const float* query(int q) const { return queries.data() + q * d; }
  static constexpr int kQueries = 8;
};

inline void normalise(float* x, int64_t d) {
  float sum = 0;
  for (int64_t j = 0; j < d; ++j) sum += x[j] * x[j];
  for (int64_t j = 0; sum > 0 && j < d; ++j) x[j] /= std::sqrt(sum);
}

inline std::vector<Candidate> exact_neighbors(const Case& c, const float* query) {
  std::vector<Candidate> all;
  for (int64_t i = 0; i < c.n; ++i) {
    all.push_back({distance(c.metric, query, c.view().row(i), c.d), static_cast<int32_t>(i)});
  }
  std::sort(all.begin(), all.end(), nearer);
  return all;
}

/// Data of a low intrinsic dimension (a product of thin random matrices and some noise), as real
/// vectors have.
inline Case make_case(const char* kind, Metric metric, int64_t n, int64_t d) {
  Case c{kind, metric, n, d, {}, {}, {}};
  c.name +=
      " n=" + std::to_string(n) + " d=" + std::to_string(d) + " " + std::string(to_string(metric));
  Rng rng(static_cast<uint64_t>(n * 1000 + d));
  const int64_t rank = std::min<int64_t>(d, 12);
  std::vector<float> axes(static_cast<std::size_t>(rank * d));
  for (float& x : axes) x = static_cast<float>(rng.normal());
  const bool integers = std::string(kind) == "integers";
  const auto fill = [&](std::vector<float>& rows, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      std::vector<float> row(static_cast<std::size_t>(d));
      for (int64_t r = 0; r < rank; ++r) {
        const auto weight = static_cast<float>(rng.normal());
        for (int64_t j = 0; j < d; ++j) {
          row[static_cast<std::size_t>(j)] += weight * axes[static_cast<std::size_t>(r * d + j)];
        }
      }
      for (float& x : row) {
        x += 0.3f * static_cast<float>(rng.normal());
        if (integers) x = std::clamp(std::round(128 + 10 * x), 0.0f, 255.0f);
      }
      if (metric == Metric::kCosine) normalise(row.data(), d);
      rows.insert(rows.end(), row.begin(), row.end());
    }
  };
  fill(c.base, n);
  fill(c.queries, Case::kQueries);
  if (std::string(kind) == "duplicates") {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < d; ++j) {
        c.base[static_cast<std::size_t>(i * d + j)] =
            c.base[static_cast<std::size_t>(i / 4 * d + j)];
      }
    }
  }
  if (std::string(kind) == "zeros") std::fill(c.base.begin(), c.base.end(), 0.0f);
  // Near neighbours, and some far ones so that everything is reached.
  c.graph = Graph(n, 16);
  for (int64_t i = 0; i < n; ++i) {
    std::vector<int32_t> row;
    const auto add = [&](int32_t id) {
      if (id != i && row.size() < 16 && std::find(row.begin(), row.end(), id) == row.end()) {
        row.push_back(id);
      }
    };
    add(static_cast<int32_t>((i + 1) % n));
    for (int j = 0; j < 4; ++j) add(static_cast<int32_t>(rng.below(static_cast<uint64_t>(n))));
    const std::vector<Candidate> near = exact_neighbors(c, c.view().row(i));
    for (std::size_t j = 0; j < near.size() && j < 12; ++j) add(near[j].id);
    std::copy(row.begin(), row.end(), c.graph.row(i));
  }
  c.graph.entry_points = {static_cast<int32_t>(n / 2)};
  if (n > 8) c.graph.entry_points.push_back(3);
  if (n == 60) {
    for (int32_t i = 59; i >= 0; --i) c.graph.order.push_back(i);
  }
  return c;
}

inline const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> list;
    list.push_back(make_case("plain", Metric::kL2, 1, 3));
    list.push_back(make_case("plain", Metric::kInnerProduct, 5, 1));
    list.push_back(make_case("zeros", Metric::kL2, 20, 4));
    list.push_back(make_case("plain", Metric::kInnerProduct, 60, 16));
    list.push_back(make_case("integers", Metric::kL2, 60, 127));
    list.push_back(make_case("duplicates", Metric::kL2, 200, 25));
    list.push_back(make_case("plain", Metric::kCosine, 300, 129));
    list.push_back(make_case("plain", Metric::kL2, 400, 130));
    return list;
  }();
  return all;
}

/// Share of the k nearest that are among ids, ties counted by distance.
inline double recall(const Case& c, const float* query, const std::vector<int32_t>& ids, int k) {
  const std::vector<Candidate> truth = exact_neighbors(c, query);
  k = std::min<int>(k, static_cast<int>(truth.size()));
  const float last = truth[static_cast<std::size_t>(k - 1)].estimate;
  int found = 0;
  for (const int32_t id : ids) {
    found += distance(c.metric, query, c.view().row(id), c.d) <= last + 1e-5f * std::fabs(last);
  }
  return std::min(found, k) / static_cast<double>(k);
}

inline std::string check_ids(const std::vector<int32_t>& ids, int64_t n) {
  std::vector<int32_t> sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return "ids repeat";
  if (!sorted.empty() && (sorted.front() < 0 || sorted.back() >= n)) return "an id out of range";
  return "";
}

inline bool same(const std::vector<Candidate>& a, const std::vector<Candidate>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Candidate& x, const Candidate& y) {
                      return x.id == y.id && x.estimate == y.estimate;
                    });
}

template <SearchModule S>
std::string check_search() {
  for (const Case& c : cases()) {
    const S search(SearchInput{c.view(), c.metric, c.graph, 7, 1});
    auto scratch = search.make_scratch();
    auto other = search.make_scratch();
    double total = 0;
    for (int q = 0; q < Case::kQueries; ++q) {
      for (const int ef : {10, 37, 4096}) {
        std::vector<Candidate> out, again;
        search.search(c.query(q), 10, ef, scratch, out);
        search.search(c.query(q), 10, ef, other, again);
        if (!same(out, again)) return c.name + ": results depend on the scratch's past";
        std::vector<int32_t> ids;
        for (const Candidate& x : out) ids.push_back(x.id);
        const std::string wrong = check_ids(ids, c.n);
        if (!wrong.empty()) return c.name + ": " + wrong;
        if (static_cast<int64_t>(ids.size()) < std::min<int64_t>(10, c.n)) {
          return c.name + " ef=" + std::to_string(ef) + ": only " + std::to_string(ids.size());
        }
        for (std::size_t i = 1; i < out.size(); ++i) {
          if (out[i].estimate < out[i - 1].estimate) return c.name + ": not nearest first";
        }
        if (ef == 4096) total += recall(c, c.query(q), ids, 10);
      }
    }
    if (total / Case::kQueries < 0.9) {
      return c.name + ": recall " + std::to_string(total / Case::kQueries) + " at a huge ef";
    }
    if (scratch.distance_count == 0) return c.name + ": no distance was counted";
  }
  return "";
}

template <RefinementModule R>
std::string check_refinement() {
  for (const Case& c : cases()) {
    const R refinement(RefinementInput{c.view(), c.metric, 1});
    auto scratch = refinement.make_scratch();
    double total = 0;
    Rng rng(5);
    for (int q = 0; q < Case::kQueries; ++q) {
      const std::vector<Candidate> truth = exact_neighbors(c, c.query(q));
      for (const int k : {1, 10, 100}) {
        for (const bool exact : {true, false}) {
          std::vector<Candidate> candidates = truth;
          for (Candidate& x : candidates) {  // estimates as a good search makes them
            if (!exact) x.estimate *= 1 + 0.01f * static_cast<float>(rng.normal());
          }
          std::sort(candidates.begin(), candidates.end(), nearer);
          std::vector<int32_t> ids(static_cast<std::size_t>(k), -7);
          const int found =
              refinement.refine(c.query(q), candidates, exact, k, scratch, ids.data());
          if (found != std::min<int64_t>(k, c.n)) return c.name + ": wrong number of ids";
          ids.resize(static_cast<std::size_t>(found));
          const std::string wrong = check_ids(ids, c.n);
          if (!wrong.empty()) return c.name + ": " + wrong;
          const double share = recall(c, c.query(q), ids, k);
          if (exact && share < 1) return c.name + ": exact estimates are not trusted";
          if (!exact && k == 10) total += share;
        }
      }
    }
    if (total / Case::kQueries < 0.7) {  // a cascade may lose some on purpose
      return c.name + ": recall " + std::to_string(total / Case::kQueries);
    }
  }
  return "";
}

inline std::string check_graph(const Graph& graph, const BuildInput& input) {
  const int64_t n = input.base.rows;
  if (graph.n != n || graph.degree > input.degree) return "wrong shape";
  for (int64_t i = 0; i < n; ++i) {
    std::vector<int32_t> row;
    for (int j = 0; j < graph.degree; ++j) {
      const int32_t id = graph.row(i)[j];
      if (id == i) return "a node is its own neighbour";
      if (id < 0) {
        if (id != -1 || (j + 1 < graph.degree && graph.row(i)[j + 1] != -1)) return "bad padding";
      } else {
        row.push_back(id);
      }
    }
    const std::string wrong = check_ids(row, n);
    if (!wrong.empty()) return wrong;
  }
  if (graph.entry_points.empty()) return "no entry point";
  const std::string wrong = check_ids(graph.entry_points, n);
  if (!wrong.empty()) return "entry points: " + wrong;
  if (!graph.order.empty() && static_cast<int64_t>(graph.order.size()) != n) return "bad order";
  if (!check_ids(graph.order, n).empty()) return "order is no permutation";
  if (Reachability(GraphView(graph)).reached != n) return "a node cannot be reached";
  return "";
}

template <ConstructionModule C>
std::string check_construction() {
  for (const Case& c : cases()) {
    BuildInput input{c.view(), c.metric, 16, 100, 3, 1};
    const Graph graph = C::build(input);
    const std::string wrong = check_graph(graph, input);
    if (!wrong.empty()) return c.name + ": " + wrong;
    if (c.n == 300) {
      input.threads = 2;
      const Graph other = C::build(input);
      const bool equal = std::equal(graph.neighbors.begin(), graph.neighbors.end(),
                                    other.neighbors.begin(), other.neighbors.end()) &&
                         graph.entry_points == other.entry_points && graph.order == other.order;
      if (!equal) return c.name + ": the graph depends on the number of threads";
    }
    double total = 0;
    BeamScratch scratch(c.n);
    for (int q = 0; q < Case::kQueries; ++q) {
      const auto score = [&](int32_t id) {
        return distance(c.metric, c.query(q), c.view().row(id), c.d);
      };
      const auto row = [&](int32_t id) {
        return std::span(graph.row(id), static_cast<std::size_t>(graph.degree));
      };
      beam_search(
          graph.entry_points, 100, row, score, [](int32_t) {}, scratch);
      std::vector<int32_t> ids;
      for (const Candidate& x : scratch.found) ids.push_back(x.id);
      total += recall(c, c.query(q), ids, 10);
    }
    if (total / Case::kQueries < 0.9) {
      return c.name + ": recall " + std::to_string(total / Case::kQueries);
    }
  }
  return "";
}

}  // namespace crinn::ann::smoke
