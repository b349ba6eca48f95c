// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "crinn/ann/toolbox/half.h"
#include "crinn/base/huge_array.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// kNone: the dimensions as they are. kPca: the leading principal components. kPcaRotated: these,
/// turned at random so that each carries the same variance (for codes of few bits). kRotation: a
/// random rotation by sign flips and fast Hadamard transforms over the next power of two.
enum class ProjectionKind { kNone, kPca, kPcaRotated, kRotation };

/// The arithmetic that projects a query. kInt8 is several times faster than kFp32 and loses less
/// than the code of the query does afterwards; kBf16 falls back to kFp32 where the CPU has none.
enum class QueryPrecision { kFp32, kBf16, kInt8 };

/// A linear map from d to dims() dimensions that nearly keeps inner products, and the mean of the
/// data that it was fitted to. Immutable after its constructor; the same for a seed.
class Projection {
 public:
  Projection() = default;
  /// Fits to at most 10,000 rows of base [n, d]. dims 0 keeps all; more than there are is cut to
  /// d (kPca, kPcaRotated), to the power of two (kRotation). kNone keeps d. With input_loss > 0
  /// queries in int8 (kPca, kPcaRotated) read as few of their d values as predict the rest of the
  /// output but for this share of its variance; where most are needed, all are read.
  Projection(MatrixView<const float> base, ProjectionKind kind, int dims, QueryPrecision precision,
             uint64_t seed, float input_loss = 0);

  int64_t input_dims() const { return static_cast<int64_t>(mean_.size()); }
  int64_t dims() const { return dims_; }
  /// How many of its values apply_query() reads.
  int64_t query_inputs() const {
    return inputs_.empty() ? input_dims() : static_cast<int64_t>(inputs_.size());
  }
  ProjectionKind kind() const { return kind_; }
  /// [d]
  const float* mean() const { return mean_.data(); }

  /// Floats that `out` must hold, and bytes that `work` must, in the functions below.
  int64_t out_capacity() const { return capacity_; }
  int64_t work_capacity() const { return work_capacity_; }

  /// out [dims] = P x in fp32. The mean is not subtracted: that is up to the metric.
  void apply(const float* x, float* out) const;
  /// The same at the query's precision.
  void apply_query(const float* x, float* out, int8_t* work) const;
  /// P (x - mean) at the query's precision; `centered` is x - mean. Where most of the data is zero,
  /// x is projected instead, which costs its other values only.
  void apply_centered(const float* x, const float* centered, float* out, int8_t* work) const;
  /// [dims] P mean
  const float* projected_mean() const { return projected_mean_.data(); }

 private:
  void pack(const std::vector<float>& rows);
  void pack_int8(const std::vector<float>& rows);
  void rotate(const float* x, float* out) const;
  int64_t input(int64_t i) const { return inputs_.empty() ? i : inputs_[i]; }
  void project_int8(const float* x, float* out, int8_t* work) const;

  ProjectionKind kind_ = ProjectionKind::kNone;
  QueryPrecision precision_ = QueryPrecision::kFp32;
  int64_t dims_ = 0, lanes_ = 0, capacity_ = 0, work_capacity_ = 0;
  std::vector<float> mean_, projected_mean_;
  std::vector<int32_t> inputs_;    ///< the values of a query that are read; empty: all
  std::vector<float> input_mean_;  ///< [dims] the projection of the mean by these alone
  bool sparse_ = false;            ///< most values of the data are zero
  HugeArray<float> weights_;       ///< [d, lanes]: a column is one output
  HugeArray<Bf16> weights16_;      ///< [d / 2, lanes, 2]
  HugeArray<uint8_t> weights8_;    ///< [query_inputs / 4, lanes, 4], weight + half of their range
  std::vector<float> scale8_;      ///< [lanes]
  std::vector<float> signs_;       ///< [rounds, power of two] of kRotation
};

namespace scalar {

/// In place, unnormalised; n is a power of two.
inline void hadamard(float* x, int64_t n) {
  for (int64_t half = 1; half < n; half *= 2) {
    for (int64_t i = 0; i < n; i += 2 * half) {
      for (int64_t j = i; j < i + half; ++j) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
    }
  }
}

}  // namespace scalar

/// The fast Walsh-Hadamard transform in place, unnormalised; n is a power of two.
void hadamard(float* x, int64_t n);

namespace detail {

/// Rows of `base` for fitting, at most `limit`, evenly spread and the same for a seed.
std::vector<int64_t> sample_rows(int64_t n, int64_t limit, uint64_t seed);

/// The covariance [d, d] of `centered` [rows, d], scaled so that its trace is d.
std::vector<float> covariance(MatrixView<const float> centered);

/// The m leading eigenvectors of a covariance [d, d], as rows [m, d], the largest variance first.
std::vector<float> principal_components(const std::vector<float>& covariance, int64_t d, int64_t m,
                                        uint64_t seed);

/// The best linear prediction of rows x, where rows is [m, d], from some values of x alone.
struct FewerInputs {
  std::vector<int32_t> inputs;  ///< ascending
  std::vector<float> rows;      ///< [m, inputs]
};
/// Picks inputs one by one, each time the one that explains most of what is left of the outputs,
/// until no more than `loss` of the outputs' variance is; a multiple of 4 of them, where there are.
FewerInputs fewer_inputs(const std::vector<float>& covariance, const std::vector<float>& rows,
                         int64_t m, int64_t d, float loss);

/// A random orthogonal matrix [m, m], row-major.
std::vector<float> random_orthogonal(int64_t m, uint64_t seed);

/// rotation [m, m] times rows [m, d].
std::vector<float> multiply(const std::vector<float>& rotation, const std::vector<float>& rows,
                            int64_t m, int64_t d);

}  // namespace detail
}  // namespace crinn::ann
