// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "crinn/ann/knn_certificate.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// The rows as the fp32 pass sees them: centred by the base's mean, scaled, rounded to fp32. The
/// certificate holds for any centre; a good one keeps the bounds tight.
class KnnRows {
 public:
  /// Borrows both matrices. Throws Error (usage) that names a row with NaN or Inf.
  KnnRows(MatrixView<const float> base, MatrixView<const float> queries, Metric metric,
          int threads);

  /// Writes x~ [d] of base row i and returns the terms of its bounds.
  KnnRow base_row(int64_t i, const KnnCertificate& certificate, float* out) const;
  /// Writes q~ [d] of query q.
  void query_row(int64_t q, float* out) const;
  /// |q~|.
  double query_norm(int64_t q) const {
    return query_norms_[static_cast<std::size_t>(q)] * query_scale_;
  }

 private:
  void find_mean(int threads);
  double find_norms(MatrixView<const float> rows, const double* mean, const char* what, int threads,
                    std::vector<double>& units, std::vector<double>& norms) const;

  MatrixView<const float> base_, queries_;
  Metric metric_;
  std::vector<double> mean_;                      // [d]
  std::vector<double> zero_;                      // [d] zeros: queries are not centred but for kL2
  std::vector<double> base_units_, query_units_;  // 1 / |x| under kCosine, else empty
  std::vector<double> base_norms_, query_norms_;  // |x u - mean|, before scaling
  double base_scale_ = 1, query_scale_ = 1;
};

}  // namespace crinn::ann
