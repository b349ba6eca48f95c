// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>

#include "crinn/ann/toolbox/float_table.h"
#include "crinn/ann/toolbox/integer_table.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {
namespace {

void narrow_to(float x, float& out) { out = x; }
void narrow_to(float x, Fp16& out) { out = to_fp16(x); }
void narrow_to(float x, Bf16& out) { out = to_bf16(x); }

/// 33,000 squares of 255 stay below 2^31.
constexpr int64_t kMostDims = 33000;

struct Range {
  float low = 0, high = 0;
  bool integral = true;
};

Range integer_range(MatrixView<const float> base) {
  Range range{base.row(0)[0], base.row(0)[0], true};
  for (int64_t i = 0; i < base.rows && range.integral; ++i) {
    const float* row = base.row(i);
    int odd = 0;
    float low = range.low, high = range.high;
    for (int64_t j = 0; j < base.cols; ++j) {
      // Differences of whole numbers this small are exact in fp32.
      odd |= !(std::fabs(row[j]) < 4194304.0f) | (row[j] != std::trunc(row[j]));
      low = row[j] < low ? row[j] : low;
      high = row[j] > high ? row[j] : high;
    }
    range = {low, high, odd == 0 && high - low <= 255.0f};
  }
  return range;
}

}  // namespace

template <class T>
FloatTable<T>::FloatTable(MatrixView<const float> base, Metric metric, const CodeParams& params)
    : metric_(metric),
      n_(base.rows),
      d_(base.cols),
      stride_(round_up(base.cols, kCacheLine / static_cast<int64_t>(sizeof(T)))),
      rows_(static_cast<std::size_t>(n_ * stride_)) {
  parallel_for(params.threads, n_, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < d_; ++j) narrow_to(base.row(i)[j], rows_[i * stride_ + j]);
    }
  });
}

template <class T>
float FloatTable<T>::pair_distance(const T* a, const T* b) const {
  float products = 0, squares = 0;
  for (int64_t j = 0; j < d_; ++j) {
    const float x = to_float(a[j]), y = to_float(b[j]);
    products += x * y;
    squares += (x - y) * (x - y);
  }
  return metric_ == Metric::kInnerProduct ? -products : squares;
}

template FloatTable<float>::FloatTable(MatrixView<const float>, Metric, const CodeParams&);
template FloatTable<Fp16>::FloatTable(MatrixView<const float>, Metric, const CodeParams&);
template FloatTable<Bf16>::FloatTable(MatrixView<const float>, Metric, const CodeParams&);
template float FloatTable<Fp16>::pair_distance(const Fp16*, const Fp16*) const;
template float FloatTable<Bf16>::pair_distance(const Bf16*, const Bf16*) const;

bool U8ExactTable::fits(MatrixView<const float> base) {
  return base.rows > 0 && base.cols > 0 && base.cols <= kMostDims && integer_range(base).integral;
}

U8ExactTable::U8ExactTable(MatrixView<const float> base, Metric metric, const CodeParams& params)
    : inner_product_(metric == Metric::kInnerProduct),
      n_(base.rows),
      d_(base.cols),
      stride_(round_up(base.cols, kCacheLine)) {
  if (!fits(base)) {
    throw Error(ErrorCategory::kUsage,
                "U8ExactTable: needs integers within a span of 256 and at most " +
                    std::to_string(kMostDims) + " dimensions; [" + std::to_string(n_) + ", " +
                    std::to_string(d_) + "] has others");
  }
  const Range range = integer_range(base);
  low_ = range.low >= 0 && range.high <= 255 ? 0.0f : range.low;
  rows_ = HugeArray<uint8_t>(static_cast<std::size_t>(n_ * stride_));
  if (inner_product_ && low_ != 0) sums_ = HugeArray<float>(static_cast<std::size_t>(n_));
  parallel_for(params.threads, n_, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint8_t* bytes = rows_.data() + i * stride_;
      float sum = 0;
      for (int64_t j = 0; j < d_; ++j) {
        bytes[j] = static_cast<uint8_t>(base.row(i)[j] - low_);
        sum += static_cast<float>(bytes[j]);
      }
      if (!sums_.empty()) sums_[i] = low_ * sum;
    }
  });
}

void U8ExactTable::prepare(const float* q, Query& query) const {
  // Clamped first (NaN to 0), so that the conversion is defined.
  uint8_t* bytes = query.bytes.data();
  float* values = query.values.data();
  int odd = 0;
  int64_t j = 0;
#if defined(CRINN_SIMD_AVX2)
  const __m256 low = _mm256_set1_ps(low_), highest = _mm256_set1_ps(255.0f);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256 same = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  for (; j + 32 <= d_; j += 32) {
    __m256i whole[4];
    for (int u = 0; u < 4; ++u) {
      const __m256 value = _mm256_sub_ps(_mm256_loadu_ps(q + j + u * 8), low);
      _mm256_storeu_ps(values + j + u * 8, value);
      const __m256 clamped = _mm256_min_ps(_mm256_max_ps(value, _mm256_setzero_ps()), highest);
      whole[u] = _mm256_cvttps_epi32(clamped);
      same = _mm256_and_ps(same, _mm256_cmp_ps(_mm256_cvtepi32_ps(whole[u]), value, _CMP_EQ_OQ));
    }
    const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(whole[0], whole[1]),
                                               _mm256_packs_epi32(whole[2], whole[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + j),
                        _mm256_permutevar8x32_epi32(packed, order));
  }
  odd = _mm256_movemask_ps(same) != 0xFF;
#endif
  for (; j < d_; ++j) {
    const float value = q[j] - low_;
    const auto byte = static_cast<int32_t>(std::min(255.0f, std::max(0.0f, value)));
    odd |= static_cast<float>(byte) != value;
    bytes[j] = static_cast<uint8_t>(byte);
    values[j] = value;
  }
  query.integral = odd == 0;
  query.shift = 0;
  if (!inner_product_) return;
  float sum = 0;
  for (j = 0; j < d_; ++j) {
    values[j] = q[j];
    sum += q[j];
  }
  query.shift = -low_ * sum;
}

}  // namespace crinn::ann
