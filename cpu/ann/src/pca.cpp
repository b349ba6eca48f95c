// SPDX-License-Identifier: Apache-2.0
// g++ 12 takes its own _mm512_undefined_*() for a use of an uninitialised value.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <Eigen/Dense>
#include <algorithm>

#include "crinn/ann/toolbox/projection.h"
#include "crinn/base/rng.h"

namespace crinn::ann::detail {
namespace {

using Columns = Eigen::MatrixXf;
using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Columns gaussian(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed);
  Columns matrix(rows, cols);
  for (int64_t j = 0; j < cols; ++j) {
    for (int64_t i = 0; i < rows; ++i) matrix(i, j) = static_cast<float>(rng.normal());
  }
  return matrix;
}

Columns orthonormal(const Columns& matrix) {
  return Eigen::HouseholderQR<Columns>(matrix).householderQ() *
         Columns::Identity(matrix.rows(), matrix.cols());
}

/// The m leading eigenvectors as columns, ascending eigenvalues turned round.
Columns leading(const Columns& symmetric, int64_t m) {
  const Eigen::SelfAdjointEigenSolver<Columns> solver(symmetric);
  return solver.eigenvectors().rowwise().reverse().leftCols(m);
}

/// Block power iteration: far cheaper than all eigenvectors when few are wanted. What the last of
/// them mix with the next ones costs no variance to speak of.
Columns leading_by_iteration(const Columns& symmetric, int64_t m, int64_t block, uint64_t seed) {
  constexpr int kIterations = 12;
  Columns basis = orthonormal(gaussian(symmetric.rows(), block, seed));
  for (int i = 0; i < kIterations; ++i) basis = orthonormal(symmetric * basis);
  const Columns small = basis.transpose() * (symmetric * basis);
  return basis * leading((small + small.transpose()) * 0.5f, m);
}

}  // namespace

std::vector<float> principal_components(MatrixView<const float> centered, int64_t m,
                                        uint64_t seed) {
  const int64_t d = centered.cols;
  const Eigen::Map<const Rows, 0, Eigen::OuterStride<>> x(centered.data, centered.rows, d,
                                                          Eigen::OuterStride<>(centered.stride));
  Columns covariance = Columns::Zero(d, d);
  covariance.selfadjointView<Eigen::Lower>().rankUpdate(x.transpose());
  covariance.triangularView<Eigen::StrictlyUpper>() = covariance.transpose();
  // Float arithmetic: bring the trace to d, whatever the unit of the data.
  const float trace = covariance.trace();
  if (trace > 0) covariance *= static_cast<float>(d) / trace;

  const int64_t block = m + std::max<int64_t>(16, m / 4);
  const Columns vectors =
      block * 2 < d ? leading_by_iteration(covariance, m, block, seed) : leading(covariance, m);
  std::vector<float> rows(static_cast<std::size_t>(m * d));
  Eigen::Map<Rows>(rows.data(), m, d) = vectors.transpose();
  return rows;
}

std::vector<float> random_orthogonal(int64_t m, uint64_t seed) {
  std::vector<float> rows(static_cast<std::size_t>(m * m));
  Eigen::Map<Rows>(rows.data(), m, m) = orthonormal(gaussian(m, m, seed));
  return rows;
}

std::vector<float> multiply(const std::vector<float>& rotation, const std::vector<float>& rows,
                            int64_t m, int64_t d) {
  std::vector<float> product(static_cast<std::size_t>(m * d));
  Eigen::Map<Rows>(product.data(), m, d).noalias() =
      Eigen::Map<const Rows>(rotation.data(), m, m) * Eigen::Map<const Rows>(rows.data(), m, d);
  return product;
}

}  // namespace crinn::ann::detail
