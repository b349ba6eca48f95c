// SPDX-License-Identifier: Apache-2.0
// g++ 12 takes its own _mm512_undefined_*() for a use of an uninitialised value.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

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

std::vector<float> covariance(MatrixView<const float> centered) {
  const int64_t d = centered.cols;
  const Eigen::Map<const Rows, 0, Eigen::OuterStride<>> x(centered.data, centered.rows, d,
                                                          Eigen::OuterStride<>(centered.stride));
  std::vector<float> values(static_cast<std::size_t>(d * d));
  Eigen::Map<Columns> sums(values.data(), d, d);
  sums.selfadjointView<Eigen::Lower>().rankUpdate(x.transpose());
  sums.triangularView<Eigen::StrictlyUpper>() = sums.transpose();
  // Float arithmetic: bring the trace to d, whatever the unit of the data.
  const float trace = sums.trace();
  if (trace > 0) sums *= static_cast<float>(d) / trace;
  return values;
}

std::vector<float> principal_components(const std::vector<float>& covariance, int64_t d, int64_t m,
                                        uint64_t seed) {
  const Eigen::Map<const Columns> symmetric(covariance.data(), d, d);
  const int64_t block = m + std::max<int64_t>(16, m / 4);
  const Columns vectors =
      block * 2 < d ? leading_by_iteration(symmetric, m, block, seed) : leading(symmetric, m);
  std::vector<float> rows(static_cast<std::size_t>(m * d));
  Eigen::Map<Rows>(rows.data(), m, d) = vectors.transpose();
  return rows;
}

FewerInputs fewer_inputs(const std::vector<float>& covariance, const std::vector<float>& rows,
                         int64_t m, int64_t d, float loss) {
  const Eigen::MatrixXd all = Eigen::Map<const Columns>(covariance.data(), d, d).cast<double>();
  const Eigen::MatrixXd map = Eigen::Map<const Rows>(rows.data(), m, d).cast<double>();
  // What the inputs chosen so far, made orthogonal one by one (a Cholesky factor whose pivots are
  // chosen for the outputs), leave of each input's variance and of its covariance with the outputs.
  Eigen::VectorXd variance = all.diagonal();
  Eigen::MatrixXd shared = map * all;
  const double total = (shared.array() * map.array()).sum();
  const double negligible = 1e-5 * all.trace() / static_cast<double>(d);
  Eigen::MatrixXd factor(d, d), weights(m, d);
  std::vector<int64_t> chosen;
  double left = total;
  while (static_cast<int64_t>(chosen.size()) < d && (left > loss * total || chosen.size() % 4)) {
    int64_t best = -1;
    double gain = 0;
    for (int64_t j = 0; j < d; ++j) {
      const double explained =
          variance[j] > negligible ? shared.col(j).squaredNorm() / variance[j] : 0;
      if (explained > gain) {
        gain = explained;
        best = j;
      }
    }
    if (best < 0) break;  // the others say nothing new
    const auto step = static_cast<int64_t>(chosen.size());
    const double scale = 1 / std::sqrt(variance[best]);
    Eigen::VectorXd column = all.col(best);
    column.noalias() -= factor.leftCols(step) * factor.row(best).head(step).transpose();
    column *= scale;
    factor.col(step) = column;
    weights.col(step) = shared.col(best) * scale;
    shared.noalias() -= weights.col(step) * column.transpose();
    variance -= column.cwiseAbs2();
    variance[best] = 0;
    left -= gain;
    chosen.push_back(best);
  }
  // From the orthogonal inputs back to the inputs themselves, in ascending order.
  const auto count = static_cast<int64_t>(chosen.size());
  Eigen::MatrixXd triangle(count, count);
  for (int64_t i = 0; i < count; ++i) triangle.row(i) = factor.row(chosen[i]).head(count);
  const Eigen::MatrixXd solved = triangle.triangularView<Eigen::Lower>().transpose().solve(
      weights.leftCols(count).transpose());
  std::vector<int64_t> order(chosen.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return chosen[a] < chosen[b]; });
  FewerInputs fewer;
  fewer.rows.resize(static_cast<std::size_t>(m * count));
  for (int64_t i = 0; i < count; ++i) {
    fewer.inputs.push_back(static_cast<int32_t>(chosen[order[i]]));
    for (int64_t r = 0; r < m; ++r) {
      fewer.rows[r * count + i] = static_cast<float>(solved(order[i], r));
    }
  }
  return fewer;
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
