// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "crinn/ann/knn_certificate.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// What a pass reads.
enum class KnnFormat { kFp32, kFp16 };

/// The rows as a pass sees them: centred by the base's mean, scaled, rounded to fp32 or fp16. The
/// certificate holds for any centre; a good one keeps the bounds tight.
class KnnRows {
 public:
  /// Borrows both matrices. Throws Error (usage) that names a row with NaN or Inf.
  KnnRows(MatrixView<const float> base, MatrixView<const float> queries, Metric metric, int threads,
          KnnFormat format = KnnFormat::kFp32);

  /// Writes x~ [d] of base row i and returns the terms of its bounds.
  KnnRow base_row(int64_t i, const KnnCertificate& certificate, float* out) const;
  /// Writes q~ [d] of query q.
  void query_row(int64_t q, float* out) const;
  /// |q~|.
  double query_norm(int64_t q) const {
    return query_norms_[static_cast<std::size_t>(q)] * query_scale(q);
  }
  /// s, and s' (2 s under kL2).
  double base_scale() const { return base_scale_; }
  double query_scale(int64_t q) const;

  /// The same in fp16, as bits; the format of the constructor must be kFp16. A row that has an
  /// element beyond fp16 becomes zero, with low = NaN.
  KnnRow base_row(int64_t i, const KnnCertificate& certificate, uint16_t* out) const;
  /// How many base rows, and how many queries, have a norm beyond fp16: those that may not be held.
  int64_t base_beyond_half() const;
  int64_t queries_beyond_half() const;
  /// Writes q^ [d] and returns the terms of its bounds; slope = NaN where fp16 does not hold it.
  KnnQuery query_row(int64_t q, const KnnCertificate& certificate, uint16_t* out) const;

 private:
  /// The mean of the base rows whose norm, as it was found before, is at most `longest`.
  void find_mean(int threads, double longest);
  double raw_norm(int64_t i) const;
  double find_norms(MatrixView<const float> rows, const double* mean, const char* what, int threads,
                    std::vector<double>& units, std::vector<double>& norms) const;

  MatrixView<const float> base_, queries_;
  Metric metric_;
  std::vector<double> mean_;                      // [d]
  std::vector<double> zero_;                      // [d] zeros: queries are not centred but for kL2
  std::vector<double> base_units_, query_units_;  // 1 / |x| under kCosine, else empty
  std::vector<double> base_norms_, query_norms_;  // |x u - mean|, before scaling
  int top_exponent_ = kKnnTopExponent;
  double base_scale_ = 1;
};

}  // namespace crinn::ann
