// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/knn_encode.h"
#include "crinn/gpu/knn_matrix.h"

/// What a group of threads does for one row on its way into a pass: the bodies of the kernels in
/// loader.cu, which the CPU's twin runs too.
namespace crinn::gpu {

/// Element j of a vector, widened to fp32.
CRINN_HOST_DEVICE inline float element_of(const void* row, ElementType type, int64_t j) {
  switch (type) {
    case ElementType::kFp32: return static_cast<const float*>(row)[j];
    case ElementType::kFp16: return ann::half_value(static_cast<const uint16_t*>(row)[j]);
    case ElementType::kU8: return static_cast<const uint8_t*>(row)[j];
    case ElementType::kI8: return static_cast<const int8_t*>(row)[j];
  }
  return 0;
}

/// Which rows or queries, by their terms, a pass does not hold, and which are not finite.
struct NotHeld {
  template <class Terms>
  CRINN_HOST_DEVICE bool operator()(const Terms& terms) const {
    return !ann::is_held(terms);
  }
};
struct NotFinite {
  template <class Terms>
  CRINN_HOST_DEVICE bool operator()(const Terms& terms) const {
    return !ann::is_finite(terms);
  }
};

}  // namespace crinn::gpu
