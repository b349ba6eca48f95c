// SPDX-License-Identifier: Apache-2.0
// The sm_90 pass on the CPU's twin: the kernel's code, with barriers, TMA and wgmma emulated.
#include "warpgroup_tile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "fused_cases.h"
#include "fused_sm90.h"
#include "host_warpgroups.h"

namespace crinn::gpu::warpgroup {
namespace {

using namespace fused_cases;  // NOLINT: what all of these tests are about

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class Values>
using ElementOf = std::conditional_t<Values::kIntegers, ByteElement, HalfElement>;

template <class Values>
void expect_plain_products(const Values& values, int64_t nq, int64_t n, int64_t row_bytes,
                           int64_t strip_tiles, uint64_t seed) {
  SCOPED_TRACE(std::to_string(nq) + " x " + std::to_string(n) + ", " + std::to_string(row_bytes) +
               " bytes, strips of " + std::to_string(strip_tiles));
  Rng rng(seed);
  const Encoded queries = Encoded::of(values, rng, nq, row_bytes);
  const Encoded rows = Encoded::of(values, rng, n, row_bytes);
  const std::vector<float> products =
      run_products_sm90<ElementOf<Values>>(queries.operand(), rows.operand(), strip_tiles, seed);
  for (int64_t q = 0; q < nq; ++q) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t expected = plain_product(values, queries.row(q), rows.row(i), row_bytes);
      ASSERT_EQ(products[static_cast<std::size_t>(q * n + i)], static_cast<float>(expected))
          << q << ", " << i;
    }
  }
}

TEST(WarpgroupTile, EveryProductHasOneThreadAndRegister) {
  std::set<std::pair<int, int>> cells;
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    for (int reg = 0; reg < kSums; ++reg) {
      const Cell cell = product_cell(thread, reg);
      EXPECT_GE(cell.query, 0);
      EXPECT_LT(cell.query, kGroupQueries);
      EXPECT_GE(cell.row, 0);
      EXPECT_LT(cell.row, kRows);
      cells.insert({cell.query, cell.row});
      EXPECT_EQ(cell.query, product_cell(thread, reg / 2 % 2 * 2).query) << "of two queries";
    }
  }
  EXPECT_EQ(cells.size(), static_cast<std::size_t>(kGroupQueries * kRows));
}

TEST(WarpgroupTile, AThreadLoadsTheTermsOfItsRows) {
  std::set<std::pair<int, int>> places;
  for (int row = 0; row < kRows; ++row) {
    places.insert({RowBounds::index(row), RowBounds::element(row)});
  }
  EXPECT_EQ(places.size(), static_cast<std::size_t>(kRows));
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    for (int reg = 0; reg < kSums; ++reg) {  // as queue_products() reads them
      const int part = reg / 16, i = reg % 16;
      const int row = product_cell(thread, reg).row;
      EXPECT_EQ(row / RowBounds::kPartRows, part);
      EXPECT_EQ(RowBounds::index(row), part * 8 + i / 8 * 4 + thread % 4);
      EXPECT_EQ(RowBounds::element(row), i / 4 % 2 * 2 + i % 2);
    }
  }
}

TEST(WarpgroupTile, DescriptorsHoldAddressStrideAndMode) {
  const uint64_t bits = descriptor(0x2C400);
  EXPECT_EQ(bits & 0x3FFF, 0x2C40u);
  EXPECT_EQ(bits >> 32 & 0x3FFF, 64u);  // 1024 bytes from eight rows to the next
  EXPECT_EQ(bits >> 62, 1u);
  EXPECT_EQ(bits & ~(0x3FFFull | 1ull << 16 | 64ull << 32 | 1ull << 62), 0u);
  EXPECT_EQ((bits + 3 * kDescriptorStep) & 0x3FFF, 0x2C40u + 6);
}

TEST(WarpgroupTile, SlicesAndStagesHaveTheirOwnPlaces) {
  for (int64_t row_bytes = kStepBytes; row_bytes <= 4096; row_bytes += kStepBytes) {
    const SharedLayout layout(row_bytes);
    EXPECT_EQ(layout.slices, (row_bytes + 127) / 128);
    EXPECT_GE(layout.stages, 4);
    EXPECT_LE(layout.stages, kMostStages);
    EXPECT_EQ(layout.resident, layout.slices <= 5);
    EXPECT_TRUE(!layout.in_turns || layout.slices <= layout.stages);
    std::vector<std::pair<int, int>> ranges;  // begin, end
    for (int stage = 0; stage < layout.stages; ++stage) {
      ranges.push_back({layout.rows_at(stage), layout.rows_at(stage) + kRowSliceBytes});
      EXPECT_EQ(layout.stage_bytes, kRowSliceBytes + (layout.resident ? 0 : kQuerySliceBytes));
      if (layout.resident) continue;
      const int at = layout.queries_at(layout.slices - 1, stage);
      ranges.push_back({at, at + kQuerySliceBytes});
    }
    for (int slice = 0; layout.resident && slice < layout.slices; ++slice) {
      EXPECT_EQ(layout.queries_at(slice, 0), layout.queries_at(slice, layout.stages - 1));
      ranges.push_back(
          {layout.queries_at(slice, 0), layout.queries_at(slice, 0) + kQuerySliceBytes});
    }
    std::sort(ranges.begin(), ranges.end());
    int end = 0;
    for (const auto& [begin, after] : ranges) {
      EXPECT_EQ(begin % 1024, 0);
      EXPECT_GE(begin, end);
      end = after;
    }
    EXPECT_LE(end, kTileBytes);
  }
}

TEST(WarpgroupTile, BarriersHaveTheirOwnNumbersAndWhoArrives) {
  std::set<int> numbers{kQueriesFull};
  EXPECT_EQ(arrivals(kQueriesFull), 1);
  for (int stage = 0; stage < kMostStages; ++stage) {
    numbers.insert(stage_full(stage));
    numbers.insert(stage_empty(stage));
    EXPECT_EQ(arrivals(stage_full(stage)), 1);
    EXPECT_EQ(arrivals(stage_empty(stage)), 8);
  }
  for (int slot = 0; slot < kBoundsSlots; ++slot) {
    numbers.insert(bounds_full(slot));
    numbers.insert(bounds_empty(slot));
    EXPECT_EQ(arrivals(bounds_full(slot)), 32);
    EXPECT_EQ(arrivals(bounds_empty(slot)), 8);
  }
  EXPECT_EQ(numbers.size(), static_cast<std::size_t>(kBarriers));
  EXPECT_EQ(*numbers.begin(), 0);
  EXPECT_EQ(*numbers.rbegin(), kBarriers - 1);
}

TEST(WarpgroupTile, StripsCoverAllRowsAndFillTheDevice) {
  for (const int64_t rows : {1, 255, 256, 257, 5000, 262144}) {
    const Operand operand{nullptr, rows, 32};
    for (const int64_t query_tiles : {1, 3, 79, 782}) {
      const int64_t strip = best_strip(tiles_of(operand), query_tiles, 132);
      ASSERT_GE(strip, 1);
      int64_t next = 0;
      const int64_t strips = (tiles_of(operand) + strip - 1) / strip;
      EXPECT_LE(strips, 65535);
      for (int64_t y = 0; y < strips; ++y) {
        const Strip work = strip_of(operand, 2, y, strip);
        EXPECT_EQ(work.first_query, 2 * kQueries);
        EXPECT_EQ(work.first_row, next);
        EXPECT_GE(work.tiles, 1);
        next += int64_t{work.tiles} * kRows;
      }
      EXPECT_GE(next, rows);
      EXPECT_LT(next - rows, kRows);
      // Rounds of blocks against tiles spread evenly.
      const double even =
          static_cast<double>(query_tiles) * static_cast<double>(tiles_of(operand)) / 132;
      const int64_t rounds = (query_tiles * strips + 131) / 132;
      if (even > 100) {
        EXPECT_LE(static_cast<double>(rounds * strip), 1.05 * even);
      }
    }
  }
}

TEST(WarpgroupPass, ProductsOfBytesEqualThePlainLoop) {
  uint64_t seed = 1;
  // Queries stay and the warpgroups take turns, up to four slices; stay, five; come again, six.
  for (const int64_t row_bytes : {32, 64, 96, 128, 160, 256, 288, 512, 608, 640, 672, 1152}) {
    expect_plain_products(Bytes(), 130, 600, row_bytes, 3, ++seed);
  }
  for (const int64_t n : {1, 7, 255, 256, 257, 2049}) {
    for (const int64_t nq : {1, 63, 65, 128}) {
      expect_plain_products(Bytes(), nq, n, 96, n % 3 + 1, ++seed);
    }
  }
}

TEST(WarpgroupPass, ProductsOfHalvesEqualThePlainLoop) {
  expect_plain_products(Halves(), 77, 300, 224, 2, 1);
  expect_plain_products(Halves(), 129, 33, 32, 1, 2);
  expect_plain_products(Halves(), 3, 257, 704, 5, 3);
}

/// Few rows, many tiles: the ring goes round often, in many orders. The twin throws where a copy
/// meets a multiplication, or where nobody can go on.
TEST(WarpgroupPass, NoOrderOfItsPartsOverwritesAStageInUse) {
  for (const int64_t row_bytes : {32, 128, 160, 384, 416, 544, 640, 800}) {
    Rng rng(7);
    const Encoded queries = Encoded::of(Bytes(), rng, 1, row_bytes);
    const Encoded rows = Encoded::of(Bytes(), rng, 11 * kRows - 3, row_bytes);
    std::vector<float> expected;
    for (uint64_t seed = 0; seed < 12; ++seed) {
      const std::vector<float> products =
          run_products_sm90<ByteElement>(queries.operand(), rows.operand(), 11, seed);
      if (seed == 0) expected = products;
      ASSERT_EQ(products, expected) << row_bytes << " bytes, seed " << seed;
    }
  }
}

/// What the test above relies on.
struct HastyLoader : HostLoader {
  void wait(int, int) {}
};

TEST(WarpgroupPass, TheTwinNoticesALoaderThatDoesNotWait) {
  Rng rng(7);
  const Encoded queries = Encoded::of(Bytes(), rng, 1, 128);
  const Encoded rows = Encoded::of(Bytes(), rng, 20 * kRows, 128);
  const Strip strip = strip_of(rows.operand(), 0, 0, 20);
  const SharedLayout layout(128);
  int thrown = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    HostSchedule schedule(seed);
    HostShared shared(schedule);
    HostTurns turns;
    const auto multiply = [&](int index) {
      HostGroup<ByteElement> group(shared, turns, index);
      multiply_tiles(layout, 128, strip.tiles, group, [](int, const auto&) {});
    };
    try {
      schedule.run({[&] {
                      HastyLoader loader{{shared, queries.operand(), rows.operand()}};
                      load_slices(layout, strip, loader);
                    },
                    [&] { multiply(0); }, [&] { multiply(1); }});
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  EXPECT_EQ(thrown, 8);
}

TEST(WarpgroupPass, TheTwinNoticesABlockThatCannotGoOn) {
  HostSchedule schedule(1);
  HostShared shared(schedule);
  EXPECT_THROW(schedule.run({[&] { shared.wait(stage_full(0), 0); }, [] {}}), std::runtime_error);
}

/// knn_lower() with every product rounded, and with none: what a compiler may make of it.
float rounded_lower(const ann::KnnRow& row, const ann::KnnQuery& query, float acc) {
  const volatile float weight = query.slope * row.weight, residual = query.reach * row.residual;
  const volatile float first = row.low - acc, second = first - weight;
  return second - residual;
}
float fused_lower(const ann::KnnRow& row, const ann::KnnQuery& query, float acc) {
  const volatile float first = row.low - acc;
  return std::fma(-query.reach, row.residual, std::fma(-query.slope, row.weight, first));
}

TEST(QueryBound, ItsLimitExcludesNothingThatTheBoundsKeep) {
  Rng rng(11);
  int64_t kept = 0;
  for (int trial = 0; trial < 200000; ++trial) {
    const auto magnitude = [&](int low, int high) {
      if (rng.below(6) == 0) return 0.0f;
      const int exponent = low + static_cast<int>(rng.below(static_cast<uint64_t>(high - low)));
      return std::ldexp(static_cast<float>(1 + rng.uniform()), exponent);
    };
    const int center = static_cast<int>(rng.below(240)) - 130;
    const float threshold = (rng.below(2) ? 1.0f : -1.0f) * magnitude(center - 4, center + 4);
    const ann::KnnQuery query{magnitude(-20, -8), magnitude(center / 2 - 4, center / 2 + 4), 0};
    const RowBounds::Part most{magnitude(center, center + 16),
                               magnitude(center / 2 - 8, center / 2)};
    const float limit = QueryBound::of(query, threshold).limit(most);
    const double exact = static_cast<double>(threshold) +
                         static_cast<double>(query.slope) * static_cast<double>(most.weight) +
                         static_cast<double>(query.reach) * static_cast<double>(most.residual);
    float low = static_cast<float>(exact);
    for (int i = 0; i < 24; ++i) low = std::nextafter(low, -kInfinity);
    for (int i = 0; i < 48; ++i, low = std::nextafter(low, kInfinity)) {
      const ann::KnnRow row{low, low, most.weight, most.residual};
      const bool keeps = rounded_lower(row, query, 0) <= threshold ||
                         fused_lower(row, query, 0) <= threshold ||
                         ann::knn_lower(row, query, 0) <= threshold;
      kept += keeps;
      if (keeps) {
        ASSERT_LE(low, limit) << "trial " << trial;
      }
      const ann::KnnRow smaller{low, low, most.weight / 2, 0};  // the part's largest is another's
      if (rounded_lower(smaller, query, 0) <= threshold) {
        ASSERT_LE(low, limit);
      }
    }
    const double all = std::fabs(static_cast<double>(threshold)) + exact - threshold;
    EXPECT_LE(limit, exact + 0x1p-18 * all + 0x1p-118) << "as tight as it should be";
  }
  EXPECT_GT(kept, 1000000);
}

TEST(QueryBound, TakesAllOrNothingWhereTheThresholdSaysSo) {
  const ann::KnnQuery query{0.5f, 0.25f, 0};
  const RowBounds::Part most{2, 4};
  EXPECT_EQ(QueryBound::of(query, kInfinity).limit(most), kInfinity);
  EXPECT_TRUE(std::isnan(QueryBound::of(query, NAN).limit(most)));
  EXPECT_TRUE(std::isnan(QueryBound::of({NAN, 1, 0}, 1).limit(most)));
}

template <class Values>
void expect_survivors(const Values& values, int64_t nq, int64_t n, int64_t row_bytes, double share,
                      int32_t capacity, int64_t strip_tiles, uint64_t seed) {
  for (const bool exact : {false, true}) {
    SCOPED_TRACE(std::to_string(nq) + " x " + std::to_string(n) + ", " + std::to_string(row_bytes) +
                 " bytes, share " + std::to_string(share) + (exact ? ", exact" : ""));
    const PassCase input = make_case(values, nq, n, row_bytes, share, capacity, exact, seed);
    PassCase output = input;
    run_fused_sm90<ElementOf<Values>>(output.pass(), strip_tiles, seed);
    expect_plain_survivors(input, output.states, output.waiting);
  }
}

TEST(WarpgroupPass, AppendsWhatPlainBoundsKeep) {
  uint64_t seed = 100;
  for (const int64_t row_bytes : {96, 128, 544, 704}) {
    for (const double share : {0.0, 0.003, 0.05, 0.5}) {
      expect_survivors(Bytes(), 131, 777, row_bytes, share, 1024, 2, ++seed);
    }
  }
  for (const int64_t n : {1, 31, 256, 513}) {
    expect_survivors(Bytes(), 67, n, 64, 0.1, 600, 3, ++seed);
  }
  expect_survivors(Halves(), 40, 300, 224, 0.02, 64, 2, ++seed);
}

/// Every product passes: queues and buffers overflow.
TEST(WarpgroupPass, AppendsAllRowsWithoutAThreshold) {
  expect_survivors(Bytes(), 129, 513, 64, 1, 600, 3, 1);
  expect_survivors(Bytes(), 129, 513, 64, 1, 100, 3, 2);  // counts pass the capacity
}

TEST(WarpgroupPass, DoesNotDependOnStrips) {
  for (const int64_t strip_tiles : {1, 2, 5}) {
    expect_survivors(Bytes(), 20, 1200, 160, 0.01, 256, strip_tiles, 5);
  }
}

}  // namespace
}  // namespace crinn::gpu::warpgroup
