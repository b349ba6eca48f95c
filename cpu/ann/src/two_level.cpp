// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/two_level_table.h"
#include "crinn/base/parallel.h"

namespace crinn::ann::detail {
namespace {

/// Code i of a record whose planes are `plane` bytes long.
int code_at(const uint8_t* record, int64_t plane, int bits, int64_t i) {
  return record[i % plane] >> (i / plane * bits) & ((1 << bits) - 1);
}

/// One byte a dimension [m] -> planes of `plane` bytes, `stride` apart.
void to_planes(const int8_t* flat, int64_t m, int64_t plane, int64_t stride, int8_t* out) {
  for (int64_t s = 0; s * plane < m; ++s) {
    std::copy_n(flat + s * plane, std::min(plane, m - s * plane), out + s * stride);
  }
}

}  // namespace

SecondLevel::SecondLevel(MatrixView<const float> base, const QuantizedRecords& first, int bits,
                         int threads)
    : bits_(bits),
      code_bytes_((first.m_ * bits + 7) / 8),
      record_bytes_(round_up(code_bytes_, 64)),
      records_(static_cast<std::size_t>(first.n_ * record_bytes_)) {
  const ScalarQuantizer& quantizer = first.quantizer_;
  const auto levels = static_cast<float>(1 << bits);
  const auto lowest = static_cast<float>(lowest_code(bits));
  parallel_for(threads, first.n_, 256, [&](int64_t begin, int64_t end) {
    std::vector<float> centered(static_cast<std::size_t>(first.d_));
    std::vector<float> projected(static_cast<std::size_t>(first.projection_.out_capacity()));
    for (int64_t id = begin; id < end; ++id) {
      for (int64_t j = 0; j < first.d_; ++j) {
        centered[j] = base.row(id)[j] - first.projection_.mean()[j];
      }
      first.projection_.apply(centered.data(), projected.data());
      uint8_t* record = records_.data() + id * record_bytes_;
      for (int64_t i = 0; i < first.m_; ++i) {
        const int coarse = code_at(first.record(id), first.code_bytes_, quantizer.bits(), i);
        const float step = quantizer.step()[i];
        const float left = step > 0 ? (projected[i] - quantizer.decode(i, coarse)) / step : 0.0f;
        const float code = std::clamp(std::floor((left + 0.5f) * levels), lowest, levels - 1);
        uint8_t& byte = record[i % code_bytes_];
        byte = static_cast<uint8_t>(byte | static_cast<int>(code) << (i / code_bytes_ * bits));
      }
    }
  });
}

void SecondLevel::make(const QuantizedRecords& first, TwoLevelQuery& query) const {
  query.flat = HugeArray<int8_t>(static_cast<std::size_t>(2 * first.m_));
  query.rest = HugeArray<float>(static_cast<std::size_t>(first.m_));
  query.first_low = HugeArray<int8_t>(query.first.codes.size());
  const auto planes = static_cast<std::size_t>(8 / bits_ * record_bytes_);
  query.second_high = HugeArray<int8_t>(planes);
  query.second_low = HugeArray<int8_t>(planes);
}

void SecondLevel::prepare(const QuantizedRecords& first, const float* q,
                          TwoLevelQuery& query) const {
  const float* values = first.prepare(q, query.first);
  int8_t* high = query.flat.data();
  int8_t* low = high + first.m_;
  const Int8Scale scale = quantize_int8(values, first.m_, high);
  query.high_sum = scale.sum;
  const float inverse = scale.scale > 0 ? 1.0f / scale.scale : 0.0f;
  float* rest = query.rest.data();
  for (int64_t i = 0; i < first.m_; ++i) {
    rest[i] = values[i] * inverse - static_cast<float>(high[i]);  // at most a half
  }
  query.low_sum = round_int8(rest, first.m_, 254.0f, low);
  to_planes(low, first.m_, first.code_bytes_, first.record_bytes_, query.first_low.data());
  to_planes(high, first.m_, code_bytes_, record_bytes_, query.second_high.data());
  to_planes(low, first.m_, code_bytes_, record_bytes_, query.second_low.data());
  const float step = first.quantizer_.global_step();
  query.scale = scale.scale * (step > 0 ? step : 1.0f);
}

float SecondLevel::decode(const QuantizedRecords& first, int64_t id, int64_t i) const {
  const int coarse = code_at(first.record(id), first.code_bytes_, first.quantizer_.bits(), i);
  const auto rest = static_cast<float>(code_at(record(id), code_bytes_, bits_, i));
  return first.quantizer_.decode(i, coarse) +
         first.quantizer_.step()[i] * (rest - half()) / static_cast<float>(1 << bits_);
}

float SecondLevel::between(const QuantizedRecords& first, int64_t a, int64_t b) const {
  const float* mean = first.projection_.projected_mean();
  float products = 0, mean_a = 0, mean_b = 0;
  for (int64_t i = 0; i < first.m_; ++i) {
    const float x = decode(first, a, i), y = decode(first, b, i);
    products += x * y;
    mean_a += x * mean[i];
    mean_b += y * mean[i];
  }
  if (first.inner_product_) return -(first.mean_square_ + mean_a + mean_b + products);
  return first.norm(a) + first.norm(b) - 2.0f * products;
}

float SecondLevel::distance_slow(const QuantizedRecords& first, const float* q, int64_t id) const {
  const float* mean = first.projection_.mean();
  std::vector<float> source(static_cast<std::size_t>(first.d_));
  std::vector<float> projected(static_cast<std::size_t>(first.projection_.out_capacity()));
  for (int64_t j = 0; j < first.d_; ++j) source[j] = first.inner_product_ ? q[j] : q[j] - mean[j];
  first.projection_.apply(source.data(), projected.data());
  float products = 0;
  for (int64_t i = 0; i < first.m_; ++i) products += projected[i] * decode(first, id, i);
  if (first.inner_product_) return -dot(q, mean, first.d_) - products;
  return dot(source.data(), source.data(), first.d_) + first.norm(id) - 2.0f * products;
}

}  // namespace crinn::ann::detail
