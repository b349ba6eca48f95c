// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "crinn/ann/knn_certificate.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// The most dimensions whose squared distance of bytes fits 31 bits: 255^2 d < 2^31.
inline constexpr int64_t kKnnIntegerDimensions = 33025;

/// Rows of whole numbers that span at most 256 values, as signed bytes: x' = x - o. Products of
/// bytes and their sums in int32 are exact, so the pass' bounds are as tight as fp32 writes them:
///   kL2:            |q - x|^2 / 2 = |x'|^2 / 2 - <q', x'> + constant,  one offset for both sides;
///   kInnerProduct:  -<q, x> = -p sum(x') - <q', x'> + constant,  q' = q - p, offsets o and p.
class KnnIntegers {
 public:
  /// Borrows both matrices and looks at every value, until one does not fit. All must be finite.
  KnnIntegers(MatrixView<const float> base, MatrixView<const float> queries, Metric metric,
              int threads);

  bool fit() const { return reason_.empty(); }
  /// Why the rows do not fit, in half a sentence; empty where they do.
  const std::string& reason() const { return reason_; }

  /// Writes x' [d] of base row i, where fit(), and returns the terms of its bounds.
  KnnRow base_row(int64_t i, int8_t* out) const;
  /// Writes q' [d].
  KnnQuery query_row(int64_t q, int8_t* out) const;

 private:
  MatrixView<const float> base_, queries_;
  Metric metric_;
  double base_offset_ = 0, query_offset_ = 0;
  std::string reason_;
};

}  // namespace crinn::ann
