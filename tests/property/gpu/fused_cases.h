// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "crinn/base/rng.h"
#include "fused_pass.h"

/// Passes whose products a plain loop knows exactly.
namespace crinn::gpu::fused_cases {

/// Small whole numbers in fp16: their products and sums are exact.
struct Halves {
  static constexpr bool kIntegers = false;
  static constexpr int64_t kBytes = 2;
  static void fill(Rng& rng, std::vector<uint8_t>& out) {
    for (std::size_t i = 0; i < out.size(); i += 2) {
      const uint16_t bits =
          ann::half_bits(static_cast<float>(static_cast<int>(rng.below(33)) - 16));
      std::memcpy(out.data() + i, &bits, 2);
    }
  }
  static int64_t at(const uint8_t* from) {
    uint16_t bits;
    std::memcpy(&bits, from, 2);
    return static_cast<int64_t>(ann::half_value(bits));
  }
};

struct Bytes {
  static constexpr bool kIntegers = true;
  static constexpr int64_t kBytes = 1;
  static void fill(Rng& rng, std::vector<uint8_t>& out) {
    for (uint8_t& value : out) value = static_cast<uint8_t>(rng.below(256));
  }
  static int64_t at(const uint8_t* from) { return static_cast<int8_t>(*from); }
};

/// Encoded rows, with what lies behind them in memory.
struct Encoded {
  std::vector<uint8_t> bytes;
  int64_t rows, row_bytes;

  template <class Values>
  static Encoded of(const Values& values, Rng& rng, int64_t rows, int64_t row_bytes) {
    Encoded result{std::vector<uint8_t>(static_cast<std::size_t>(rows * row_bytes)), rows,
                   row_bytes};
    values.fill(rng, result.bytes);
    return result;
  }
  tile::Operand operand() const { return {bytes.data(), rows, row_bytes}; }
  const uint8_t* row(int64_t i) const { return bytes.data() + i * row_bytes; }
};

template <class Values>
int64_t plain_product(const Values& values, const uint8_t* a, const uint8_t* b, int64_t row_bytes) {
  int64_t sum = 0;
  for (int64_t j = 0; j < row_bytes; j += Values::kBytes)
    sum += values.at(a + j) * values.at(b + j);
  return sum;
}

/// A pass, its products, and what plain bounds keep of them.
struct PassCase {
  Encoded queries, rows;
  int32_t capacity;
  std::vector<float> products;  // [nq, n]
  std::vector<ann::KnnQuery> query_terms;
  std::vector<ann::KnnRow> row_terms;
  std::vector<QueryState> states;
  std::vector<Waiting> waiting;

  static constexpr int32_t kFirstId = 1000;
  /// Queries behind the pass's, which would take every row.
  static constexpr int64_t kMore = 128;

  FusedPass pass() {
    return {queries.operand(), rows.operand(), query_terms.data(), row_terms.data(),
            states.data(),     waiting.data(), capacity,           kFirstId};
  }
  float product(int64_t q, int64_t i) const {
    return products[static_cast<std::size_t>(q * rows.rows + i)];
  }
  float lower(int64_t q, int64_t i) const {
    return ann::knn_lower(row_terms[static_cast<std::size_t>(i)],
                          query_terms[static_cast<std::size_t>(q)], product(q, i));
  }
  float upper(int64_t q, int64_t i) const {
    return ann::knn_upper(row_terms[static_cast<std::size_t>(i)],
                          query_terms[static_cast<std::size_t>(q)], product(q, i));
  }
};

/// Terms as L2 has them, one row in 16 far larger than the rest; some rows and queries are not in
/// the pass. A query keeps `share` of its rows: its threshold is between the lower bounds of two
/// rows, or, with `exact`, a row's own; then bounds have no slack, as those of whole numbers.
template <class Values>
PassCase make_case(const Values& values, int64_t nq, int64_t n, int64_t row_bytes, double share,
                   int32_t capacity, bool exact, uint64_t seed) {
  Rng rng(seed);
  PassCase result{Encoded::of(values, rng, nq, row_bytes),
                  Encoded::of(values, rng, n, row_bytes),
                  capacity,
                  {},
                  {},
                  {},
                  {},
                  std::vector<Waiting>(static_cast<std::size_t>((nq + PassCase::kMore) * capacity),
                                       {0, -1, 0, 0})};
  for (int64_t i = 0; i < n; ++i) {
    const auto square = static_cast<float>(
        plain_product(values, result.rows.row(i), result.rows.row(i), row_bytes));
    const float norm = std::sqrt(square) * (rng.below(16) == 0 ? 50.0f : 1.0f);
    result.row_terms.push_back({square * 0.999f, square * 1.001f, norm,
                                norm * static_cast<float>(rng.uniform()) * 0x1p-8f});
    if (rng.below(40) == 0) result.row_terms.back() = {NAN, NAN, NAN, NAN};
  }
  for (int64_t q = 0; q < nq; ++q) {
    const float slope = static_cast<float>(rng.uniform()) * 4;
    result.query_terms.push_back(exact ? ann::KnnQuery{0, 0, 0} : ann::KnnQuery{slope, 2, 0});
    if (rng.below(20) == 0) result.query_terms.back().slope = NAN;
    std::vector<float> lower;
    for (int64_t i = 0; i < n; ++i) {
      result.products.push_back(static_cast<float>(
          plain_product(values, result.queries.row(q), result.rows.row(i), row_bytes)));
      if (const float bound = result.lower(q, i); !std::isnan(bound)) lower.push_back(bound);
    }
    std::sort(lower.begin(), lower.end());
    const auto place = static_cast<std::size_t>(share * static_cast<double>(lower.size()));
    float threshold = std::numeric_limits<float>::infinity();
    if (place < lower.size()) threshold = lower[place];
    if (!exact && place + 1 < lower.size()) threshold = (lower[place] + lower[place + 1]) / 2;
    result.states.push_back({threshold, static_cast<int32_t>(rng.below(3)), 0});
  }
  for (int64_t q = 0; q < PassCase::kMore; ++q) {
    result.query_terms.push_back({0, 0, 0});
    result.states.push_back({std::numeric_limits<float>::infinity(), 0, 0});
  }
  return result;
}

/// Holds what a pass left of `input` against plain bounds, which another compiler may have rounded
/// in other places.
inline void expect_plain_survivors(const PassCase& input, const std::vector<QueryState>& states,
                                   const std::vector<Waiting>& waiting) {
  for (int64_t q = 0; q < input.queries.rows; ++q) {
    const auto at = static_cast<std::size_t>(q);
    const float threshold = input.states[at].threshold;
    std::set<int32_t> expected, found;
    for (int64_t i = 0; i < input.rows.rows; ++i) {
      if (input.lower(q, i) <= threshold) {
        expected.insert(static_cast<int32_t>(PassCase::kFirstId + i));
      }
    }
    const int32_t first = input.states[at].count, count = states[at].count;
    ASSERT_EQ(count - first, static_cast<int32_t>(expected.size())) << "query " << q;
    EXPECT_EQ(states[at].threshold, threshold);
    for (int32_t place = 0; place < input.capacity; ++place) {
      const Waiting& row = waiting[static_cast<std::size_t>(q * input.capacity + place)];
      if (place < first || place >= count) {
        EXPECT_EQ(row.id, -1) << "written for no row";
        continue;
      }
      ASSERT_TRUE(expected.count(row.id)) << row.id;
      EXPECT_TRUE(found.insert(row.id).second) << row.id << " twice";
      EXPECT_TRUE(std::isnan(row.distance));
      const int64_t i = row.id - PassCase::kFirstId;
      const ann::KnnRow& terms = input.row_terms[static_cast<std::size_t>(i)];
      const ann::KnnQuery& query = input.query_terms[at];
      const float rounding = 0x1p-22f * (terms.high + std::fabs(input.product(q, i)) +
                                         query.slope * terms.weight + query.reach * terms.residual);
      EXPECT_NEAR(row.lower, input.lower(q, i), rounding);
      EXPECT_NEAR(row.upper, input.upper(q, i), rounding);
    }
    if (count <= input.capacity) {
      EXPECT_EQ(found, expected) << "query " << q;
    }
  }
  for (auto q = static_cast<std::size_t>(input.queries.rows); q < states.size(); ++q) {
    EXPECT_EQ(states[q].count, 0) << "query " << q << " is not in the pass";
  }
}

}  // namespace crinn::gpu::fused_cases
