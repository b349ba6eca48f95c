// SPDX-License-Identifier: Apache-2.0
#include "tile.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "crinn/base/rng.h"
#include "host_lanes.h"

namespace crinn::gpu {
namespace {

/// Shared memory that was never cleared.
struct SharedMemory {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(tile::kStageBytes, uint8_t{0x5A});
  void copy16(int offset, const uint8_t* source, bool inside) {
    for (int i = 0; i < 16; ++i) {
      bytes[static_cast<std::size_t>(offset) + static_cast<std::size_t>(i)] =
          inside ? source[i] : uint8_t{0};
    }
  }
};

/// Products of the tile by the index functions, with the lanes of host_lanes.h: [query][row].
template <class Element>
std::vector<std::vector<float>> tile_products(const std::vector<uint8_t>& queries,
                                              const std::vector<uint8_t>& rows, int64_t row_bytes) {
  const tile::Operand a{queries.data(), static_cast<int64_t>(queries.size()) / row_bytes,
                        row_bytes};
  const tile::Operand b{rows.data(), static_cast<int64_t>(rows.size()) / row_bytes, row_bytes};
  SharedMemory shared;
  const HostLanes<Element> lanes(shared.bytes.data());
  std::vector<std::vector<float>> result(tile::kQueries, std::vector<float>(tile::kRows, NAN));
  for (int warp = 0; warp < tile::kWarps; ++warp) {
    typename HostLanes<Element>::Sum sums[tile::kQueryFragments][tile::kRowFragments] = {};
    for (int slice = 0; slice * tile::kSliceBytes < row_bytes; ++slice) {
      for (int thread = 0; thread < tile::kThreads; ++thread) {
        tile::copy_slice(shared, thread, a, 0, slice, 0);
        tile::copy_slice(shared, thread, b, 0, slice, tile::kQueries * tile::kSliceBytes);
      }
      tile::multiply_slice(lanes, warp, 0, tile::steps_of(row_bytes, slice), sums);
    }
    tile::for_each_product(
        lanes, warp, sums, [](int row) { return row; },
        [&](int query, int row, int terms, float product) {
          EXPECT_EQ(terms, row);
          float& place = result[static_cast<std::size_t>(query)][static_cast<std::size_t>(row)];
          EXPECT_TRUE(std::isnan(place)) << "twice: " << query << ", " << row;
          place = product;
        });
  }
  return result;
}

template <class Element, class Value>
void expect_plain_products(int64_t queries, int64_t rows, int64_t row_bytes, const Value& value) {
  SCOPED_TRACE(std::to_string(queries) + " x " + std::to_string(rows) + ", " +
               std::to_string(row_bytes) + " bytes");
  Rng rng(static_cast<uint64_t>(row_bytes * 1000 + rows));
  std::vector<uint8_t> a(static_cast<std::size_t>(queries * row_bytes));
  std::vector<uint8_t> b(static_cast<std::size_t>(rows * row_bytes));
  for (auto* bytes : {&a, &b}) value.fill(rng, *bytes);
  const auto products = tile_products<Element>(a, b, row_bytes);
  for (int64_t q = 0; q < tile::kQueries; ++q) {
    for (int64_t i = 0; i < tile::kRows; ++i) {
      int64_t expected = 0;  // what lies outside is zero
      if (q < queries && i < rows) {
        for (int64_t j = 0; j < row_bytes / value.bytes; ++j) {
          expected += value.at(a, q * row_bytes + j * value.bytes) *
                      value.at(b, i * row_bytes + j * value.bytes);
        }
      }
      ASSERT_EQ(products[static_cast<std::size_t>(q)][static_cast<std::size_t>(i)],
                static_cast<float>(expected))
          << q << ", " << i;
    }
  }
}

/// Small whole numbers in fp16: their products and sums are exact.
struct Halves {
  int64_t bytes = 2;
  static void fill(Rng& rng, std::vector<uint8_t>& out) {
    for (std::size_t i = 0; i < out.size(); i += 2) {
      const auto value = static_cast<float>(static_cast<int>(rng.below(33)) - 16);
      const uint16_t bits = ann::half_bits(value);
      std::memcpy(out.data() + i, &bits, 2);
    }
  }
  static int64_t at(const std::vector<uint8_t>& from, int64_t offset) {
    uint16_t bits;
    std::memcpy(&bits, from.data() + offset, 2);
    return static_cast<int64_t>(ann::half_value(bits));
  }
};

struct Bytes {
  int64_t bytes = 1;
  static void fill(Rng& rng, std::vector<uint8_t>& out) {
    for (uint8_t& value : out) value = static_cast<uint8_t>(rng.below(256));
  }
  static int64_t at(const std::vector<uint8_t>& from, int64_t offset) {
    return static_cast<int8_t>(from[static_cast<std::size_t>(offset)]);
  }
};

TEST(Tile, ProductsOfHalvesEqualThePlainLoop) {
  for (const int64_t row_bytes : {32, 96, 128, 160, 288}) {
    expect_plain_products<HalfElement>(128, 128, row_bytes, Halves());
  }
  expect_plain_products<HalfElement>(1, 128, 64, Halves());
  expect_plain_products<HalfElement>(77, 33, 224, Halves());
}

TEST(Tile, ProductsOfBytesEqualThePlainLoop) {
  for (const int64_t row_bytes : {32, 128, 416}) {
    expect_plain_products<ByteElement>(128, 128, row_bytes, Bytes());
  }
  expect_plain_products<ByteElement>(65, 127, 96, Bytes());
}

TEST(Tile, EveryByteOfASliceHasItsOwnPlace) {
  std::set<int> offsets;
  for (int row = 0; row < tile::kRows; ++row) {
    for (int byte = 0; byte < tile::kSliceBytes; ++byte) {
      offsets.insert(tile::slice_offset({row, byte}));
    }
  }
  EXPECT_EQ(offsets.size(), static_cast<std::size_t>(tile::kRows * tile::kSliceBytes));
  EXPECT_EQ(*offsets.rbegin(), tile::kRows * tile::kSliceBytes - 1);
}

/// A quarter of ldmatrix.x4 reads eight times 16 bytes: all 32 banks once.
TEST(Tile, ReadsOfOneMatrixLieInDifferentBanks) {
  for (const auto chunk_of : {tile::query_chunk, tile::row_chunk}) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int step = 0; step < tile::kSliceBytes / tile::kStepBytes; ++step) {
        std::set<int> banks;
        for (int lane = 8 * matrix; lane < 8 * matrix + 8; ++lane) {
          const tile::Place chunk = chunk_of(lane);
          const int offset = tile::slice_offset({chunk.row, step * tile::kStepBytes + chunk.byte});
          EXPECT_EQ(offset % 16, 0);
          banks.insert(offset / 16 % 8);
        }
        EXPECT_EQ(banks.size(), 8u);
      }
    }
  }
}

TEST(Tile, TensorCoreSumsStayWithinTheCertificate) {
  Rng rng(3);
  for (int trial = 0; trial < 20000; ++trial) {
    const bool near_cancel = trial % 2 == 0;
    float products[16];
    double exact = 0, magnitude = 0;
    for (int i = 0; i < 16; ++i) {
      const float scale = std::ldexp(1.0f, static_cast<int>(rng.below(29)) - 15);
      const auto a = ann::half_value(ann::half_bits(static_cast<float>(rng.normal()) * scale));
      products[i] = near_cancel && i % 2 == 1 ? -products[i - 1] * 1.5f : a * 3.25f;
      exact += products[i];
      magnitude += std::fabs(products[i]);
    }
    const auto c = static_cast<float>(rng.normal() * 100);
    exact += c;
    magnitude += std::fabs(c);
    EXPECT_LE(std::fabs(tensor_core_sum(products, c) - exact), 24 * 0x1p-23 * magnitude);
  }
}

}  // namespace
}  // namespace crinn::gpu
