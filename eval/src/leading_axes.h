// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "crinn/ann/knn_encode.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/matrix_view.h"

namespace crinn::eval {

inline constexpr int64_t kMostLeadingAxes = 256;

/// Few axes that exclude most rows before the fp32 pass of exact_knn multiplies all d dimensions.
///
/// Let P [h, d] be any matrix of spectral norm 1 at most: here the base's h leading principal axes,
/// divided by a bound of their norm that is taken in fp64. I - P^T P is positive semidefinite, so
/// by Cauchy and Schwarz, for the q~ and x~ of knn_certificate.h,
///   <q~, x~>  <=  <P q~, P x~> + tau(q~) tau(x~),   tau(v)^2 = |v|^2 - |P v|^2,
/// a product of h + 1 dimensions. With vectors near a space of few dimensions tau is small, and
/// what lies below the bound is hardly more than the neighbours themselves.
///
/// |v| stands for norm_above(), which holds what knn_element() makes zero, too. Rounding: P v is
/// computed as w in fp32, |w - P v| <= eta |v| with eta = sqrt(h) gamma + 2u, and
/// tau from w, rounded up: T^2 = (1 + 2 eta (1 + eta)) |v|^2 - |w|^2 >= tau^2. Then
///   <q~, x~> - acc  <=  (gamma' (1 + 3 eta) + 2 eta + 3 eta^2) |q~| |x~|
/// for the computed product acc of (w, T) by (w, T), which is the certificate's form with another
/// c1: slope() in place of KnnQuery::slope gives a lower bound by the terms of the row as they are.
class LeadingAxes {
 public:
  /// No axes.
  explicit LeadingAxes(int64_t d) : d_(d) {}
  /// axes: [count, d] row-major, near orthonormal; count <= kMostLeadingAxes. No axes where they
  /// are far from it.
  LeadingAxes(const std::vector<float>& axes, int64_t count, const ann::KnnEncoder& encoder);

  int64_t count() const { return count_; }
  /// Dimensions of the bound's product; d where there are no axes.
  int64_t depth() const { return count_ > 0 ? count_ + 1 : d_; }

  /// (w, T) of rows: panel [d, kPanel] of encoded rows -> out [out_rows(), kPanel], of which the
  /// first count() + 1 rows matter; both aligned to kWidth floats. norms [kPanel]: at least |v|.
  void project(const float* panel, const double* norms, float* out) const;
  int64_t out_rows() const;

  /// T^2 = whole() |v|^2 - |w|^2; 1e-12 is for these sums in fp64.
  double whole() const { return 1 + 2 * error_ * (1 + error_) + 1e-12; }
  /// Of a query whose own slope and reach are those.
  float slope(const ann::KnnQuery& query) const;

 private:
  int64_t d_ = 0, count_ = 0;
  double error_ = 0;        ///< eta
  double c1_ = 0;           ///< of the bound
  HugeArray<float> tiles_;  ///< [count / kQueryRows rounded up, d, kQueryRows]
};

/// At least |x~| and |q~| of encoded rows.
double norm_above(const ann::KnnRow& row);
double norm_above(const ann::KnnQuery& query);

/// As many axes as a sample of rows and queries says make the search fastest; none where there is
/// too little work to gain by them.
LeadingAxes choose_leading_axes(MatrixView<const float> base, MatrixView<const float> queries,
                                const ann::KnnEncoder& encoder, int64_t k, int threads);

/// The `count` leading axes of a sample of the base.
LeadingAxes make_leading_axes(MatrixView<const float> base, const ann::KnnEncoder& encoder,
                              int64_t count);

/// Bytes that choosing takes at most, and the axes that are chosen or made.
int64_t leading_axes_bytes(int64_t d);

}  // namespace crinn::eval
