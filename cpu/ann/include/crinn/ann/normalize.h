// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "crinn/ann/exact_distance.h"

namespace crinn::ann {

/// to = from / |from|, with the norm in fp64; a zero vector stays zero. What every vector goes
/// through under kCosine before a module sees it. `to` may be `from`. [d]
inline void normalize(const float* from, float* to, int64_t d) {
  const double norm = std::sqrt(exact_dot(from, from, d));
  const double inverse = norm > 0 ? 1.0 / norm : 0.0;
  for (int64_t i = 0; i < d; ++i) {
    to[i] = static_cast<float>(static_cast<double>(from[i]) * inverse);
  }
}

}  // namespace crinn::ann
