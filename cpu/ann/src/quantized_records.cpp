// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "crinn/ann/toolbox/distance.h"
#include "crinn/ann/toolbox/inline_records.h"
#include "crinn/base/parallel.h"

namespace crinn::ann::detail {
namespace {

constexpr int64_t kQuantizerRows = 4096;
constexpr Fp16 kInfinity = {0x7c00};

}  // namespace

QuantizedRecords::QuantizedRecords(MatrixView<const float> base, Metric metric, int bits,
                                   const CodeParams& params)
    : inner_product_(metric == Metric::kInnerProduct),
      n_(base.rows),
      d_(base.cols),
      projection_(base, params.projection, params.dims, params.precision, params.seed,
                  params.input_loss) {
  m_ = projection_.dims();
  code_bytes_ = is_fine(bits) ? m_ : (m_ * bits + 7) / 8;
  record_bytes_ = round_up(code_bytes_ + (is_fine(bits) ? 4 : 8), 64);

  const int64_t capacity = projection_.out_capacity();
  const std::vector<int64_t> rows = sample_rows(n_, kQuantizerRows, params.seed);
  HugeArray<float> sample(rows.size() * static_cast<std::size_t>(m_));
  std::vector<float> centered(static_cast<std::size_t>(d_));
  std::vector<float> projected(static_cast<std::size_t>(capacity));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float* row = base.row(rows[i]);
    for (int64_t j = 0; j < d_; ++j) centered[j] = row[j] - projection_.mean()[j];
    projection_.apply(centered.data(), projected.data());
    std::copy_n(projected.data(), m_, sample.data() + static_cast<int64_t>(i) * m_);
  }
  quantizer_ = ScalarQuantizer({sample.data(), static_cast<int64_t>(rows.size()), m_}, bits,
                               params.scale, params.quantile);
  if (!inner_product_) between_scale_ = quantizer_.global_step() * quantizer_.global_step();
  mean_square_ = dot(projection_.mean(), projection_.mean(), d_);

  records_ = HugeArray<uint8_t>(static_cast<std::size_t>(n_ * record_bytes_));
  parallel_for(params.threads, n_, 256, [&](int64_t begin, int64_t end) {
    std::vector<float> work(static_cast<std::size_t>(d_ + capacity));
    std::vector<uint8_t> codes(static_cast<std::size_t>(m_));
    for (int64_t i = begin; i < end; ++i) {
      encode(base.row(i), work.data(), codes.data(), records_.data() + i * record_bytes_);
    }
  });
  float largest = 0;
  for (int64_t i = 0; i < n_; ++i) largest = std::max(largest, norm(i));
  // The largest norm becomes a half precision number of the highest exponent but one.
  if (largest > 1e-30f && std::isfinite(largest)) {
    norm_unit_ = std::ldexp(1.0f, std::ilogb(largest) - 14);
  }
}

void QuantizedRecords::encode(const float* row, float* work, uint8_t* codes,
                              uint8_t* record) const {
  const int bits = quantizer_.bits();
  float* projected = work + d_;
  for (int64_t j = 0; j < d_; ++j) work[j] = row[j] - projection_.mean()[j];
  const float square = dot(work, work, d_);
  projection_.apply(work, projected);
  quantizer_.encode(projected, codes);
  for (int64_t i = 0; i < m_; ++i) {
    const int64_t place = i % code_bytes_;
    record[place] = static_cast<uint8_t>(record[place] | codes[i] << (i / code_bytes_ * bits));
  }
  const float norm = inner_product_ ? 0.0f : square;
  std::memcpy(record + record_bytes_ - 4, &norm, 4);
  if (is_fine(bits)) return;
  // <x, x> / <x, decoded x>: scales the decoded vector so that it is right along x itself.
  float self = 0, cross = 0;
  for (int64_t i = 0; i < m_; ++i) {
    self += projected[i] * projected[i];
    cross += projected[i] * quantizer_.decode(i, codes[i]);
  }
  const float ratio = self / cross;
  const float factor = cross > 0 && std::isfinite(ratio) ? ratio : 1.0f;
  std::memcpy(record + record_bytes_ - 8, &factor, 4);
}

QuantizedQuery QuantizedRecords::make_query() const {
  const int64_t capacity = projection_.out_capacity();
  QuantizedQuery query;
  query.codes = HugeArray<int8_t>(static_cast<std::size_t>(8 / quantizer_.bits() * record_bytes_));
  query.work = HugeArray<float>(static_cast<std::size_t>(round_up(d_, 16) + capacity));
  query.bytes =
      HugeArray<int8_t>(static_cast<std::size_t>(round_up(projection_.work_capacity(), 64) + m_));
  return query;
}

const float* QuantizedRecords::prepare(const float* q, QuantizedQuery& query) const {
  const float* mean = projection_.mean();
  float* projected = query.work.data() + round_up(d_, 16);
  const float* source = q;
  if (inner_product_) {
    query.shift = -dot(q, mean, d_);
  } else {
    float* centered = query.work.data();
    for (int64_t j = 0; j < d_; ++j) centered[j] = q[j] - mean[j];
    query.shift = dot(centered, centered, d_);
    source = centered;
  }
  if (projection_.kind() == ProjectionKind::kNone && quantizer_.global_step() > 0) {
    finish_prepare(source, 0, quantizer_.global_step(), query);
    return source;
  }
  if (inner_product_) {
    projection_.apply_query(q, projected, query.bytes.data());
  } else {
    projection_.apply_centered(q, source, projected, query.bytes.data());
  }
  if (quantizer_.global_step() > 0) {
    finish_prepare(projected, 0, quantizer_.global_step(), query);
    return projected;
  }
  // The steps go into the query, the centres into a constant.
  const float constant = dot(projected, quantizer_.center(), m_);
  const float* step = quantizer_.step();
  for (int64_t i = 0; i < m_; ++i) projected[i] *= step[i];
  finish_prepare(projected, constant, 1.0f, query);
  return projected;
}

/// Rounds values [m], which are in units of 1 / step.
void QuantizedRecords::finish_prepare(const float* values, float constant, float step,
                                      QuantizedQuery& query) const {
  const int bits = quantizer_.bits();
  int8_t* codes = is_fine(bits) ? query.codes.data()
                                : query.bytes.data() + round_up(projection_.work_capacity(), 64);
  Int8Scale scale = quantize_int8(values, m_, codes);
  scale.scale *= step;
  if (!is_fine(bits)) {
    for (int64_t s = 0; s * code_bytes_ < m_; ++s) {
      std::memcpy(query.codes.data() + s * record_bytes_, codes + s * code_bytes_,
                  static_cast<std::size_t>(std::min(code_bytes_, m_ - s * code_bytes_)));
    }
  }
  const float sign = inner_product_ ? -1.0f : -2.0f;
  // half is a whole number for fine codes and a half one below.
  const auto twice_half = static_cast<int32_t>(2 * quantizer_.half());
  query.bias = twice_half * scale.sum >> 1;
  const float rest = 0.5f * static_cast<float>(twice_half * scale.sum & 1);
  query.slope = sign * scale.scale;
  query.constant = constant;
  query.offset = sign * (constant - scale.scale * rest);
}

float QuantizedRecords::distance_slow(const float* q, int64_t id) const {
  const int bits = quantizer_.bits();
  const float* mean = projection_.mean();
  std::vector<float> source(static_cast<std::size_t>(d_));
  std::vector<float> projected(static_cast<std::size_t>(projection_.out_capacity()));
  float square = 0, mean_product = 0, products = 0;
  for (int64_t j = 0; j < d_; ++j) {
    source[j] = inner_product_ ? q[j] : q[j] - mean[j];
    square += source[j] * source[j];
    mean_product += q[j] * mean[j];
  }
  projection_.apply(source.data(), projected.data());
  for (int64_t i = 0; i < m_; ++i) {
    const int code = record(id)[i % code_bytes_] >> (i / code_bytes_ * bits) & ((1 << bits) - 1);
    products += projected[i] * quantizer_.decode(i, code);
  }
  if (!is_fine(bits)) products *= factor(id);
  return inner_product_ ? -mean_product - products : square + norm(id) - 2.0f * products;
}

float QuantizedRecords::between_slow(int64_t a, int64_t b) const {
  const int bits = quantizer_.bits();
  const int mask = (1 << bits) - 1;
  const float factor_a = is_fine(bits) ? 1.0f : factor(a);
  const float factor_b = is_fine(bits) ? 1.0f : factor(b);
  float products = 0, mean_a = 0, mean_b = 0;
  for (int64_t i = 0; i < m_; ++i) {
    const auto shift = i / code_bytes_ * bits;
    const float x = factor_a * quantizer_.decode(i, record(a)[i % code_bytes_] >> shift & mask);
    const float y = factor_b * quantizer_.decode(i, record(b)[i % code_bytes_] >> shift & mask);
    products += x * y;
    mean_a += x * projection_.projected_mean()[i];
    mean_b += y * projection_.projected_mean()[i];
  }
  if (inner_product_) return -(mean_square_ + mean_a + mean_b + products);
  return norm(a) + norm(b) - 2.0f * products;
}

void QuantizedRecords::pack_lanes(const int32_t* ids, int64_t lanes, uint8_t* terms,
                                  uint8_t* codes) const {
  const bool has_factor = !is_fine(quantizer_.bits());
  auto* norms = reinterpret_cast<Fp16*>(terms);
  Fp16* factors = norms + lanes;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const bool empty = ids[lane] < 0;
    norms[lane] = empty ? kInfinity : to_fp16(norm(ids[lane]) / norm_unit_);
    if (has_factor) factors[lane] = to_fp16(empty ? 0.0f : factor(ids[lane]));
    for (int64_t p = 0; p < words() * 4; ++p) {
      const bool code = !empty && p < code_bytes_;
      codes[(p / 4 * lanes + lane) * 4 + p % 4] = code ? record(ids[lane])[p] : uint8_t{0};
    }
  }
}

InlineLayout pack_inline(const QuantizedRecords& codes, MatrixView<const int32_t> neighbors,
                         int threads, HugeArray<uint8_t>& records) {
  const int64_t degree = neighbors.cols;
  InlineLayout layout;
  layout.lanes = round_up(degree, 16);
  layout.id_bytes = neighbors.rows <= RecordIds::kNone ? 2 : 4;
  layout.terms = layout.lanes * layout.id_bytes;
  layout.bytes = round_up(
      layout.terms + codes.terms_bytes(layout.lanes) + codes.codes_bytes(layout.lanes), 64);
  layout.codes = layout.bytes - codes.codes_bytes(layout.lanes);
  records = HugeArray<uint8_t>(static_cast<std::size_t>(neighbors.rows * layout.bytes));
  parallel_for(threads, neighbors.rows, 256, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> ids(static_cast<std::size_t>(layout.lanes), -1);
    for (int64_t node = begin; node < end; ++node) {
      uint8_t* record = records.data() + node * layout.bytes;
      std::copy_n(neighbors.row(node), degree, ids.begin());
      for (int64_t lane = 0; lane < layout.lanes; ++lane) {
        // The lower two bytes of -1 are RecordIds::kNone.
        std::memcpy(record + lane * layout.id_bytes, &ids[static_cast<std::size_t>(lane)],
                    static_cast<std::size_t>(layout.id_bytes));
      }
      codes.pack_lanes(ids.data(), layout.lanes, record + layout.terms, record + layout.codes);
    }
  });
  return layout;
}

void pack_scan(const QuantizedRecords& codes, int64_t lanes, std::span<const int32_t> places,
               int threads, HugeArray<uint8_t>& blocks) {
  const int64_t all = places.empty() ? codes.n_ : static_cast<int64_t>(places.size());
  const int64_t count = (all + lanes - 1) / lanes, bytes = codes.block_bytes(lanes);
  blocks = HugeArray<uint8_t>(static_cast<std::size_t>(count * bytes));
  parallel_for(threads, count, 16, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> ids(static_cast<std::size_t>(lanes));
    for (int64_t block = begin; block < end; ++block) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t place = block * lanes + lane;
        const auto id = static_cast<int32_t>(place < all ? place : -1);
        ids[lane] = places.empty() || id < 0 ? id : places[static_cast<std::size_t>(place)];
      }
      codes.pack_block(ids.data(), lanes, blocks.data() + block * bytes);
    }
  });
}

}  // namespace crinn::ann::detail
