// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "crinn/ann/exact_distance.h"

namespace crinn::ann {

/// to = from / |from|, with the norm in fp64. A zero vector, which has cosine 0 to all others,
/// becomes a unit vector of alternating signs: to zero itself a unit vector is as near as to one of
/// cosine 1/2. What every vector goes through under kCosine before a module sees it. `to` may be
/// `from`. [d]
inline void normalize(const float* from, float* to, int64_t d) {
  const double norm = std::sqrt(exact_dot(from, from, d));
  if (!(norm > 0)) {
    const auto value = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
    for (int64_t i = 0; i < d; ++i) to[i] = i % 2 == 0 ? value : -value;
    return;
  }
  const double inverse = 1 / norm;
  for (int64_t i = 0; i < d; ++i) {
    to[i] = static_cast<float>(static_cast<double>(from[i]) * inverse);
  }
}

}  // namespace crinn::ann
