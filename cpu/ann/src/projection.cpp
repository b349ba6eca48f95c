// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/projection.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/packed.h"
#include "crinn/ann/toolbox/quantize.h"
#include "crinn/base/error.h"
#include "crinn/base/rng.h"

namespace crinn::ann {
namespace {

constexpr int64_t kFitRows = 10000;
constexpr int kRounds = 3;  // sign flip and Hadamard, three times, is as good as a dense rotation
constexpr int64_t kSparse = 60;  // per cent of zeros from which skipping them pays

/// Bits of a weight. With 7, AVX2 needs half the instructions of 8, and nothing is measurable in
/// recall; with 5 it sums products in 16 bits: 5 multiplications for 8. What 5 bits lose is about
/// .07 / sqrt(d) of a query's length, much less than codes do where d is large.
int weight_bits([[maybe_unused]] int64_t d) {
#if defined(CRINN_SIMD_AVX2)
  constexpr int64_t kManyDims = 480;
  return d >= kManyDims ? 5 : 7;
#else
  return 8;
#endif
}

/// Calls body(integral_constant<int, weight_bits(d)>).
template <class Body>
void with_weight_bits(int64_t d, Body&& body) {
  switch (weight_bits(d)) {
    case 5: return body(std::integral_constant<int, 5>());
    case 7: return body(std::integral_constant<int, 7>());
    default: return body(std::integral_constant<int, 8>());
  }
}

int64_t power_of_two(int64_t d) {
  int64_t power = 1;
  while (power < d) power *= 2;
  return power;
}

/// out [lanes] = sum over i of x[i] * weights[i, lane].
void project_fp32(const float* weights, int64_t lanes, const float* x, int64_t d, float* out) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  constexpr int64_t kLanes = detail::kFloatLanes;
  constexpr int64_t kGroups = 4;
  using detail::broadcast;
  int64_t lane = 0;
  for (; lane + kGroups * kLanes <= lanes; lane += kGroups * kLanes) {
    detail::FloatLanes even[kGroups], odd[kGroups];
    for (int g = 0; g < kGroups; ++g) even[g] = odd[g] = detail::zero_lanes();
    int64_t i = 0;
    for (; i + 2 <= d; i += 2) {
      const float* row = weights + i * lanes + lane;
      const auto a = broadcast(x[i]), b = broadcast(x[i + 1]);
      for (int g = 0; g < kGroups; ++g) {
        even[g] = detail::multiply_add(a, detail::load(row + g * kLanes), even[g]);
        odd[g] = detail::multiply_add(b, detail::load(row + lanes + g * kLanes), odd[g]);
      }
    }
    for (int g = 0; g < kGroups; ++g) {
      if (i < d) {
        even[g] = detail::multiply_add(
            broadcast(x[i]), detail::load(weights + i * lanes + lane + g * kLanes), even[g]);
      }
      const detail::FloatLanes sum = detail::add(even[g], odd[g]);
      std::memcpy(out + lane + g * kLanes, &sum, sizeof sum);
    }
  }
  for (; lane < lanes; lane += kLanes) {
    detail::FloatLanes sums[4];
    for (auto& sum : sums) sum = detail::zero_lanes();
    int64_t i = 0;
    for (; i + 4 <= d; i += 4) {
      for (int u = 0; u < 4; ++u) {
        sums[u] = detail::multiply_add(broadcast(x[i + u]),
                                       detail::load(weights + (i + u) * lanes + lane), sums[u]);
      }
    }
    for (; i < d; ++i) {
      sums[0] =
          detail::multiply_add(broadcast(x[i]), detail::load(weights + i * lanes + lane), sums[0]);
    }
    const detail::FloatLanes sum =
        detail::add(detail::add(sums[0], sums[1]), detail::add(sums[2], sums[3]));
    std::memcpy(out + lane, &sum, sizeof sum);
  }
#else
  std::fill(out, out + lanes, 0.0f);
  for (int64_t i = 0; i < d; ++i) {
    for (int64_t lane = 0; lane < lanes; ++lane) out[lane] += x[i] * weights[i * lanes + lane];
  }
#endif
}

#if defined(CRINN_SIMD_AVX512) && defined(__AVX512BF16__)

/// pairs [d / 2] of bf16 values of x.
template <int kGroups>
void project_bf16_groups(const Bf16* weights, int64_t lanes, const int8_t* pairs, int64_t count,
                         float* out) {
  constexpr int kSums = kGroups >= 4 ? 2 : 4;
  __m512 sums[kSums][kGroups];
  for (auto& row : sums) {
    for (auto& sum : row) sum = _mm512_setzero_ps();
  }
  const auto add_pair = [&](int64_t i, int u) {
    int32_t pair;
    std::memcpy(&pair, pairs + i * 4, 4);
    const __m512i x = _mm512_set1_epi32(pair);
    for (int g = 0; g < kGroups; ++g) {
      const __m512i w = _mm512_loadu_si512(weights + (i * lanes + g * 16) * 2);
      sums[u][g] = _mm512_dpbf16_ps(sums[u][g], reinterpret_cast<__m512bh>(x),
                                    reinterpret_cast<__m512bh>(w));
    }
  };
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int u = 0; u < kSums; ++u) add_pair(i + u, u);
  }
  for (; i < count; ++i) add_pair(i, 0);
  for (int g = 0; g < kGroups; ++g) {
    __m512 total = sums[0][g];
    for (int u = 1; u < kSums; ++u) total = _mm512_add_ps(total, sums[u][g]);
    _mm512_storeu_ps(out + g * 16, total);
  }
}

void project_bf16(const Bf16* weights, int64_t lanes, const int8_t* pairs, int64_t count,
                  float* out) {
  int64_t lane = 0;
  for (; lane + 64 <= lanes; lane += 64) {
    project_bf16_groups<4>(weights + lane * 2, lanes, pairs, count, out + lane);
  }
  for (; lane < lanes; lane += 16) {
    project_bf16_groups<1>(weights + lane * 2, lanes, pairs, count, out + lane);
  }
}

#endif

}  // namespace

void hadamard(float* x, int64_t n) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
  constexpr int64_t kLanes = detail::kFloatLanes;
  if (n < kLanes * kLanes) return scalar::hadamard(x, n);
  // Levels commute. The ones below a register's width act on a transposed block instead.
  for (int64_t block = 0; block < n; block += kLanes * kLanes) {
    float turned[kLanes * kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      for (int64_t j = 0; j < kLanes; ++j) turned[j * kLanes + i] = x[block + i * kLanes + j];
    }
    for (int64_t half = kLanes; half < kLanes * kLanes; half *= 2) {
      for (int64_t i = 0; i < kLanes * kLanes; i += 2 * half) {
        for (int64_t j = i; j < i + half; j += kLanes) {
          const auto a = detail::load(turned + j), b = detail::load(turned + j + half);
          const auto sum = detail::add(a, b), difference = detail::sub(a, b);
          std::memcpy(turned + j, &sum, sizeof sum);
          std::memcpy(turned + j + half, &difference, sizeof difference);
        }
      }
    }
    for (int64_t i = 0; i < kLanes; ++i) {
      for (int64_t j = 0; j < kLanes; ++j) x[block + i * kLanes + j] = turned[j * kLanes + i];
    }
  }
  for (int64_t half = kLanes; half < n; half *= 2) {
    for (int64_t i = 0; i < n; i += 2 * half) {
      for (int64_t j = i; j < i + half; j += kLanes) {
        const auto a = detail::load(x + j), b = detail::load(x + j + half);
        const auto sum = detail::add(a, b), difference = detail::sub(a, b);
        std::memcpy(x + j, &sum, sizeof sum);
        std::memcpy(x + j + half, &difference, sizeof difference);
      }
    }
  }
#else
  scalar::hadamard(x, n);
#endif
}

std::vector<int64_t> detail::sample_rows(int64_t n, int64_t limit, uint64_t seed) {
  std::vector<int64_t> rows(static_cast<std::size_t>(std::min(n, limit)));
  Rng rng(mix_seed(seed, 0x5a));
  const auto count = static_cast<int64_t>(rows.size());
  for (int64_t i = 0; i < count; ++i) {
    // One row of each stratum; all rows when there are few.
    const int64_t begin = i * n / count, end = (i + 1) * n / count;
    rows[i] = begin + static_cast<int64_t>(rng.below(static_cast<uint64_t>(end - begin)));
  }
  return rows;
}

Projection::Projection(MatrixView<const float> base, ProjectionKind kind, int dims,
                       QueryPrecision precision, uint64_t seed, float input_loss)
    : kind_(kind), precision_(precision) {
  const int64_t d = base.cols;
  if (base.rows < 1 || d < 1 || dims < 0) {
    throw Error(ErrorCategory::kUsage,
                "Projection: needs at least one row, one column and dims >= 0"
                ", not [" +
                    std::to_string(base.rows) + ", " + std::to_string(d) + "] and " +
                    std::to_string(dims));
  }
  const std::vector<int64_t> rows = detail::sample_rows(base.rows, kFitRows, seed);
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<double> sums(static_cast<std::size_t>(d));
  for (const int64_t row : rows) {
    for (int64_t j = 0; j < d; ++j) sums[j] += static_cast<double>(base.row(row)[j]);
  }
  mean_.resize(static_cast<std::size_t>(d));
  for (int64_t j = 0; j < d; ++j) {
    mean_[j] = static_cast<float>(sums[j] / static_cast<double>(count));
  }

  const int64_t wanted = dims == 0 ? d : dims;
  if (kind == ProjectionKind::kNone) {
    dims_ = d;
  } else if (kind == ProjectionKind::kRotation) {
    const int64_t power = power_of_two(d);
    dims_ = dims == 0 ? power : std::min(wanted, power);
    capacity_ = power;
    Rng rng(mix_seed(seed, 0xf4));
    signs_.resize(static_cast<std::size_t>(kRounds * power));
    // Each transform scales by sqrt(power); the last round also makes up for what dims cuts off.
    const auto width = static_cast<double>(power);
    const double unit = 1.0 / std::sqrt(width);
    const double last = std::sqrt(width / static_cast<double>(dims_));
    for (int round = 0; round < kRounds; ++round) {
      const auto value = static_cast<float>(round + 1 == kRounds ? unit * last : unit);
      for (int64_t j = 0; j < power; ++j) {
        signs_[round * power + j] = rng() >> 63 ? value : -value;
      }
    }
  } else {
    dims_ = std::min(wanted, d);
    HugeArray<float> centered(static_cast<std::size_t>(count * d));
    for (int64_t i = 0; i < count; ++i) {
      const float* row = base.row(rows[i]);
      for (int64_t j = 0; j < d; ++j) centered[i * d + j] = row[j] - mean_[j];
    }
    const std::vector<float> covariance = detail::covariance({centered.data(), count, d});
    std::vector<float> components =
        detail::principal_components(covariance, d, dims_, mix_seed(seed, 0xca));
    if (kind == ProjectionKind::kPcaRotated) {
      components = detail::multiply(detail::random_orthogonal(dims_, mix_seed(seed, 0x07)),
                                    components, dims_, d);
    }
    pack(components);
    if (precision == QueryPrecision::kInt8) {
      if (input_loss > 0) {
        detail::FewerInputs fewer =
            detail::fewer_inputs(covariance, components, dims_, d, input_loss);
        if (!fewer.inputs.empty() && static_cast<int64_t>(fewer.inputs.size()) < d - d / 8) {
          inputs_ = std::move(fewer.inputs);
          components = std::move(fewer.rows);
        }
      }
      pack_int8(components);
    }
  }
  capacity_ = std::max({capacity_, dims_, lanes_});
  projected_mean_.resize(static_cast<std::size_t>(capacity_));
  apply(mean_.data(), projected_mean_.data());
  int64_t zeros = 0;
  for (const int64_t row : rows) {
    for (int64_t i = 0; i < query_inputs(); ++i) zeros += base.row(row)[input(i)] == 0.0f;
  }
  sparse_ = zeros > kSparse * count * query_inputs() / 100;
}

/// rows [dims, d] -> the layouts that the kernels read.
void Projection::pack(const std::vector<float>& rows) {
  const int64_t d = input_dims();
  lanes_ = round_up(dims_, 16);
  weights_ = HugeArray<float>(static_cast<std::size_t>(d * lanes_));
  for (int64_t r = 0; r < dims_; ++r) {
    for (int64_t j = 0; j < d; ++j) weights_[j * lanes_ + r] = rows[r * d + j];
  }
  if (precision_ == QueryPrecision::kBf16) {
    work_capacity_ = round_up(d, 2) * 2;
    weights16_ = HugeArray<Bf16>(static_cast<std::size_t>(round_up(d, 2) * lanes_));
    for (int64_t r = 0; r < dims_; ++r) {
      for (int64_t j = 0; j < d; ++j) {
        weights16_[((j / 2) * lanes_ + r) * 2 + j % 2] = to_bf16(rows[r * d + j]);
      }
    }
  }
}

/// rows [dims, query_inputs].
void Projection::pack_int8(const std::vector<float>& rows) {
  const int64_t count = query_inputs(), padded = round_up(count, 4);
  // The query in int8, int32 sums, int32 places of the words that are not zero, the inputs in fp32.
  work_capacity_ = padded + lanes_ * 4 + padded + padded * 4;
  weights8_ = HugeArray<uint8_t>(static_cast<std::size_t>(padded * lanes_));
  const int half = 1 << (weight_bits(input_dims()) - 1);  // what a weight of zero is stored as
  for (uint8_t& weight : weights8_) weight = static_cast<uint8_t>(half);
  scale8_.assign(static_cast<std::size_t>(lanes_), 0.0f);
  input_mean_.assign(static_cast<std::size_t>(dims_), 0.0f);
  std::vector<int8_t> codes(static_cast<std::size_t>(count));
  for (int64_t r = 0; r < dims_; ++r) {
    const auto most = static_cast<float>(half - 1);
    scale8_[r] = quantize_int8(rows.data() + r * count, count, codes.data(), most).scale;
    for (int64_t i = 0; i < count; ++i) {
      weights8_[((i / 4) * lanes_ + r) * 4 + i % 4] = static_cast<uint8_t>(codes[i] + half);
      input_mean_[r] += rows[r * count + i] * mean_[input(i)];
    }
  }
}

void Projection::rotate(const float* x, float* out) const {
  const int64_t d = input_dims();
  const auto power = static_cast<int64_t>(signs_.size()) / kRounds;
  for (int64_t j = 0; j < d; ++j) out[j] = x[j] * signs_[j];
  for (int64_t j = d; j < power; ++j) out[j] = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (round > 0) {
      for (int64_t j = 0; j < power; ++j) out[j] *= signs_[round * power + j];
    }
    hadamard(out, power);
  }
}

void Projection::apply(const float* x, float* out) const {
  switch (kind_) {
    case ProjectionKind::kNone: std::copy_n(x, dims_, out); break;
    case ProjectionKind::kRotation: rotate(x, out); break;
    default: project_fp32(weights_.data(), lanes_, x, input_dims(), out);
  }
}

void Projection::apply_centered(const float* x, const float* centered, float* out,
                                int8_t* work) const {
  if (lanes_ == 0 || precision_ != QueryPrecision::kInt8) return apply_query(centered, out, work);
  project_int8(sparse_ ? x : centered, out, work);
  for (int64_t r = 0; sparse_ && r < dims_; ++r) out[r] -= input_mean_[r];
}

void Projection::apply_query(const float* x, float* out, int8_t* work) const {
  if (lanes_ == 0 || precision_ == QueryPrecision::kFp32) return apply(x, out);
  if (precision_ == QueryPrecision::kBf16) {
#if defined(CRINN_SIMD_AVX512) && defined(__AVX512BF16__)
    const int64_t d = input_dims();
    for (int64_t j = 0; j < round_up(d, 2); ++j) {
      const Bf16 value = j < d ? to_bf16(x[j]) : Bf16{0};
      std::memcpy(work + j * 2, &value, 2);
    }
    return project_bf16(weights16_.data(), lanes_, work, round_up(d, 2) / 2, out);
#else
    return apply(x, out);
#endif
  }
  project_int8(x, out, work);
  // What is not read is taken for its mean.
  for (int64_t r = 0; !inputs_.empty() && r < dims_; ++r) {
    out[r] += projected_mean_[r] - input_mean_[r];
  }
}

/// The int8 weights times the values of x that are read.
void Projection::project_int8(const float* x, float* out, int8_t* work) const {
  const int64_t count = query_inputs(), padded = round_up(count, 4);
  auto* sums = reinterpret_cast<int32_t*>(work + padded);
  int32_t* places = sums + lanes_;
  if (!inputs_.empty()) {
    auto* values = reinterpret_cast<float*>(places + padded / 4);
    for (int64_t i = 0; i < count; ++i) values[i] = x[inputs_[i]];
    x = values;
  }
  for (int64_t i = count; i < padded; ++i) work[i] = 0;
  const Int8Scale scale = quantize_int8(x, count, work);
  const int64_t d = input_dims();
  const int32_t bias = scale.sum * (1 << (weight_bits(d) - 1));
  int64_t words = 0;
  for (int64_t w = 0; sparse_ && w < padded / 4; ++w) {
    int32_t word;
    std::memcpy(&word, work + w * 4, 4);
    places[words] = static_cast<int32_t>(w);
    words += word != 0;
  }
  with_weight_bits(d, [&](auto bits) {
    if (sparse_) {
      dot_lanes_of<bits()>(places, words, weights8_.data(), lanes_, lanes_, work, 0, bias, sums);
    } else {
      dot_lanes<bits()>(weights8_.data(), padded / 4, lanes_, lanes_, work, 0, bias, sums);
    }
  });
  for (int64_t r = 0; r < lanes_; ++r) {
    out[r] = static_cast<float>(sums[r]) * (scale.scale * scale8_[r]);
  }
}

}  // namespace crinn::ann
