// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/toolbox/residual_records.h"

#include <cstring>

#include "crinn/ann/toolbox/distance.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann::detail {
namespace {

// The largest whole number of a query's dimension: four (two) of them, one (three) times each, stay
// within kScanBias.
constexpr float most_of(int bits) { return bits == 1 ? 31 : 20; }
// Of the standard deviation: the step of the best uniform quantiser of four levels for a normal
// distribution (Max 1960).
constexpr float kTwoBitStep = 0.9957f;

// Sums of look-ups stay below 2^16.
constexpr int kMostGroups = 264;

int most_dims(int bits, const CodeParams& params) {
  const int most = kMostGroups * 4 / bits;
  return params.dims == 0 ? most : std::min(params.dims, most);
}

// Unsigned: rows hold up to 248, and negative worths wrap around.
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

/// All ones in entry e [0, 16) where e lacks the bit: negates a worth.
Bytes16 negative(int bit) {
  Bytes16 mask{};
  for (int e = 0; e < 16; ++e) mask[e] = static_cast<uint8_t>((e >> bit & 1) - 1);
  return mask;
}
const Bytes16 kNegative[4] = {negative(0), negative(1), negative(2), negative(3)};

int level_of(int bits, int code) { return bits == 1 ? 2 * code - 1 : 2 * code - 3; }

}  // namespace

ResidualCodes::ResidualCodes(MatrixView<const float> base, Metric metric, int64_t records,
                             int64_t lanes, int bits, const CodeParams& params)
    : inner_product_(metric == Metric::kInnerProduct),
      bits_(bits),
      n_(base.rows),
      d_(base.cols),
      lanes_(round_up(lanes, 16)),
      projection_(base, params.projection, most_dims(bits, params), params.precision, params.seed,
                  params.input_loss) {
  if (params.projection == ProjectionKind::kNone) {
    throw Error(ErrorCategory::kUsage, "ResidualRecords: params.projection is kNone");
  }
  m_ = projection_.dims();
  groups_ = round_up((m_ * bits_ + 3) / 4, kScanGroups);
  record_bytes_ = lanes_ * 12 + lanes_ / 16 * groups_ * 8;
  records_ = HugeArray<uint8_t>(static_cast<std::size_t>(records * record_bytes_));
}

ResidualCodes::ResidualCodes(MatrixView<const float> base, Metric metric, const GraphView& graph,
                             int bits, const CodeParams& params)
    : ResidualCodes(base, metric, base.rows, graph.neighbors.cols, bits, params) {
  HugeArray<float> projected(static_cast<std::size_t>(n_ * m_));
  parallel_for(params.threads, n_, 256, [&](int64_t begin, int64_t end) {
    std::vector<float> work(static_cast<std::size_t>(projection_.out_capacity()));
    for (int64_t i = begin; i < end; ++i) {
      project(base.row(i), work.data(), projected.data() + i * m_);
    }
  });
  const auto point = [&](int64_t id) { return Point{base.row(id), projected.data() + id * m_}; };
  parallel_for(params.threads, n_, 64, [&](int64_t begin, int64_t end) {
    std::vector<float> residual(static_cast<std::size_t>(m_));
    for (int64_t node = begin; node < end; ++node) {
      const int32_t* ids = graph.neighbors.row(node);
      uint8_t* record = records_.data() + node * record_bytes_;
      open(ids, graph.neighbors.cols, record);
      for (int64_t lane = 0; lane < graph.neighbors.cols; ++lane) {
        if (ids[lane] < 0) continue;
        pack(point(node), point(ids[lane]), lane, residual.data(), record);
      }
    }
  });
}

ResidualCodes::ResidualCodes(MatrixView<const float> base, Metric metric,
                             MatrixView<const int32_t> members, MatrixView<const float> centres,
                             std::span<const int32_t> centre_of, int bits, const CodeParams& params)
    : ResidualCodes(base, metric, members.rows, members.cols, bits, params) {
  parallel_for(params.threads, members.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> work(static_cast<std::size_t>(projection_.out_capacity()));
    std::vector<float> residual(static_cast<std::size_t>(m_));
    std::vector<float> from(residual.size()), to(residual.size());
    for (int64_t row = begin; row < end; ++row) {
      const int32_t* ids = members.row(row);
      const float* centre = centres.row(centre_of[static_cast<std::size_t>(row)]);
      uint8_t* record = records_.data() + row * record_bytes_;
      open(ids, members.cols, record);
      project(centre, work.data(), from.data());
      for (int64_t lane = 0; lane < members.cols; ++lane) {
        if (ids[lane] < 0) continue;
        project(base.row(ids[lane]), work.data(), to.data());
        pack({centre, from.data()}, {base.row(ids[lane]), to.data()}, lane, residual.data(),
             record);
      }
    }
  });
}

void ResidualCodes::project(const float* row, float* work, float* out) const {
  projection_.apply(row, work);
  for (int64_t j = 0; j < m_; ++j) out[j] = work[j] - projection_.projected_mean()[j];
}

/// A record without codes: its ids, and infinity as everybody's distance.
void ResidualCodes::open(const int32_t* ids, int64_t count, uint8_t* record) const {
  auto* own = reinterpret_cast<int32_t*>(record);
  std::copy_n(ids, count, own);
  std::fill(own + count, own + lanes_, -1);
  auto* constants = reinterpret_cast<float*>(record) + lanes_;
  std::fill_n(constants, lanes_, std::numeric_limits<float>::infinity());
}

void ResidualCodes::pack(const Point& from, const Point& to, int64_t lane, float* residual,
                         uint8_t* record) const {
  float* constants = reinterpret_cast<float*>(record) + lanes_;
  float* factors = constants + lanes_;
  uint8_t* block = record + lanes_ * 12 + lane / 16 * groups_ * 8;
  float square = 0;
  for (int64_t i = 0; i < m_; ++i) {
    residual[i] = to.projected[i] - from.projected[i];
    square += residual[i] * residual[i];
  }
  const float step = kTwoBitStep * std::sqrt(square / static_cast<float>(m_));
  float along = 0, from_product = 0;
  for (int64_t i = 0; i < m_; ++i) {
    int code = residual[i] > 0;
    if (bits_ == 2) {
      const float place = step > 0 ? residual[i] / step : 0.0f;
      code = std::clamp(static_cast<int>(std::floor(place)) + 2, 0, 3);
    }
    const auto level = static_cast<float>(level_of(bits_, code));
    along += residual[i] * level;
    from_product += from.projected[i] * level;
    const int64_t group = i * bits_ / 4;
    const int64_t shift = scan_code_shift(group) + i * bits_ % 4;
    uint8_t& byte = block[scan_code_byte(group, lane % 16)];
    byte = static_cast<uint8_t>(byte | code << shift);
  }
  const float factor = along > 0 ? square / along : 0.0f;
  if (inner_product_) {
    // -<q, to> = -<q, from> - <q - mean, to - from> - <mean, to - from>
    float mean_product = 0;
    for (int64_t j = 0; j < d_; ++j) {
      mean_product += projection_.mean()[j] * (to.row[j] - from.row[j]);
    }
    constants[lane] = -mean_product;
    factors[lane] = -factor;
  } else {
    constants[lane] = l2(from.row, to.row, d_) + 2 * factor * from_product;
    factors[lane] = -2 * factor;
  }
}

ResidualQuery ResidualCodes::make_query() const {
  ResidualQuery query;
  query.table = HugeArray<uint8_t>(static_cast<std::size_t>(groups_ * 16));
  query.work =
      HugeArray<float>(static_cast<std::size_t>(round_up(d_, 16) + projection_.out_capacity()));
  query.bytes =
      HugeArray<int8_t>(static_cast<std::size_t>(round_up(projection_.work_capacity(), 64) + m_));
  for (uint8_t& entry : query.table) entry = kScanBias;
  return query;
}

void ResidualCodes::prepare(const float* q, ResidualQuery& query) const {
  float* centered = query.work.data();
  float* projected = centered + round_up(d_, 16);
  for (int64_t j = 0; j < d_; ++j) centered[j] = q[j] - projection_.mean()[j];
  projection_.apply_centered(q, centered, projected, query.bytes.data());
  int8_t* values = query.bytes.data() + round_up(projection_.work_capacity(), 64);
  query.slope = quantize_int8(projected, m_, values, most_of(bits_)).scale;
  for (int64_t group = 0; group * 4 < m_ * bits_; ++group) {
    // What each bit of a code is worth: the level is a sum of +-1 (and +-2).
    int8_t worth[4] = {0, 0, 0, 0};
    for (int64_t bit = 0; bit < 4; ++bit) {
      const int64_t i = (group * 4 + bit) / bits_;
      const int scale = bits_ == 2 && bit % 2 == 1 ? 2 : 1;
      if (i < m_) worth[bit] = static_cast<int8_t>(values[i] * scale);
    }
    Bytes16 row = Bytes16{} + static_cast<uint8_t>(kScanBias);
    for (int bit = 0; bit < 4; ++bit) {
      const Bytes16 value = Bytes16{} + static_cast<uint8_t>(worth[bit]);
      row += (value ^ kNegative[bit]) - kNegative[bit];
    }
    std::memcpy(query.table.data() + scan_table_row(group), &row, 16);
  }
}

}  // namespace crinn::ann::detail
