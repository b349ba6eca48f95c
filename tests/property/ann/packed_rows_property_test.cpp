// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <numeric>

#include "crinn/ann/toolbox/packed_rows.h"
#include "kernel_cases.h"

namespace crinn::ann {
namespace {

template <int kBytes>
void check_unpacking(int64_t count, Rng& rng) {
  // At an odd address; a heap block of this size lets sanitizers see what is read beyond.
  std::vector<uint8_t> packed(static_cast<std::size_t>(1 + count * kBytes + 4));
  for (uint8_t& byte : packed)
    byte = static_cast<uint8_t>(rng.below(3) == 0 ? 255 : rng.below(256));
  for (int64_t i = 0; i < count; i += 3) {  // more often none than by chance
    std::fill_n(packed.data() + 1 + i * kBytes, kBytes, uint8_t{255});
  }
  std::vector<int32_t> ids(static_cast<std::size_t>(count)), expected(ids.size());
  unpack_ids<kBytes>(packed.data() + 1, count, ids.data());
  scalar::unpack_ids(packed.data() + 1, kBytes, count, expected.data());
  EXPECT_EQ(ids, expected) << kBytes << " bytes, " << count;
}

TEST(UnpackIds, AgreesWithTheScalarTwin) {
  Rng rng(1);
  for (int64_t count = 0; count <= 128; count += 8) {
    for (int round = 0; round < 20; ++round) {
      check_unpacking<2>(count, rng);
      check_unpacking<3>(count, rng);
      check_unpacking<4>(count, rng);
    }
  }
}

TEST(IdBytes, NarrowIdsOnlyWhereARowShrinks) {
  EXPECT_EQ(id_bytes(65534, 32), 2);
  EXPECT_EQ(id_bytes(65535, 32), 3);  // all ones are taken
  EXPECT_EQ(id_bytes(1000000, 32), 3);
  EXPECT_EQ(id_bytes(16777214, 32), 3);
  EXPECT_EQ(id_bytes(16777215, 32), 4);
  EXPECT_EQ(id_bytes(1000000, 16), 4);  // 48 bytes take the room of 64
  EXPECT_EQ(id_bytes(1000, 16), 2);
  EXPECT_EQ(id_bytes(1000, 8), 4);
  for (const int64_t degree : {1, 7, 12, 24, 48, 64, 255}) {
    for (const int64_t n : {1, 300, 70000, 20000000}) {
      const int bytes = id_bytes(n, degree);
      EXPECT_LE(round_up(degree * bytes, 32), round_up(degree * 4, 32));
      EXPECT_TRUE(bytes == 4 || n < (int64_t{1} << (8 * bytes)) - 1);
    }
  }
}

TEST(PackedRows, HoldTheGraphByPlace) {
  Rng rng(2);
  for (const int64_t n : {1, 2, 33, 500, 66000}) {
    for (const int degree : {1, 3, 7, 8, 9, 16, 31, 32, 33, 48, 64}) {
      Graph graph(n, degree);
      for (int64_t i = 0; i < n; ++i) {
        const auto filled = static_cast<int64_t>(rng.below(static_cast<uint64_t>(degree) + 1));
        for (int64_t j = 0; j < filled; ++j) {
          graph.row(i)[j] = static_cast<int32_t>(rng.below(static_cast<uint64_t>(n)));
        }
      }
      std::vector<int32_t> order(static_cast<std::size_t>(n));
      std::iota(order.begin(), order.end(), 0);
      rng.shuffle(order);
      const Placement placement(order, n);
      const PackedRows rows(graph, placement);
      EXPECT_EQ(rows.bytes_of_id(), id_bytes(n, degree));
      EXPECT_EQ(rows.lanes(), round_up(degree, 8));
      const HugeArray<int32_t> expected = place_rows(graph, placement);
      std::vector<int32_t> places(static_cast<std::size_t>(rows.lanes()));
      for (int64_t i = 0; i < std::min<int64_t>(n, 500); ++i) {
        const int64_t place = n - 1 - i * std::max<int64_t>(n / 500, 1);
        rows.prefetch(place);
        rows.unpack(place, places.data());
        for (int j = 0; j < degree; ++j) {
          ASSERT_EQ(places[static_cast<std::size_t>(j)], expected[place * degree + j])
              << "n " << n << " degree " << degree << " place " << place;
        }
      }
    }
  }
}

}  // namespace
}  // namespace crinn::ann
