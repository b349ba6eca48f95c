// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace crinn::ann {

/// What "near" means. Distances are always smaller-is-nearer:
/// kL2: squared Euclidean; kInnerProduct: minus the inner product; kCosine: squared Euclidean
/// between unit vectors, 2 - 2 cos. Under kCosine every vector that a module sees has unit norm
/// (see normalize.h), so a module may treat kCosine as kL2.
enum class Metric : int { kL2 = 0, kInnerProduct = 1, kCosine = 2 };

constexpr std::string_view to_string(Metric metric) {
  switch (metric) {
    case Metric::kL2: return "euclidean";
    case Metric::kInnerProduct: return "inner-product";
    case Metric::kCosine: return "angular";
  }
  return "unknown";
}

/// Accepts the names of ann-benchmarks (euclidean, angular, ip) and the usual synonyms
/// (l2, cosine, inner-product, dot).
constexpr std::optional<Metric> parse_metric(std::string_view name) {
  if (name == "euclidean" || name == "l2") return Metric::kL2;
  if (name == "angular" || name == "cosine") return Metric::kCosine;
  if (name == "inner-product" || name == "ip" || name == "dot") return Metric::kInnerProduct;
  return std::nullopt;
}

}  // namespace crinn::ann
