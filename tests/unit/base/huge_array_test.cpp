// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/huge_array.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace crinn {
namespace {

TEST(HugeArray, IsZeroedAlignedAndWritableToItsEnd) {
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{4097}, std::size_t{1} << 19, (std::size_t{3} << 20) + 1}) {
    HugeArray<int32_t> array(size);
    ASSERT_EQ(array.size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % 64, 0u);
    if (size * sizeof(int32_t) >= (std::size_t{2} << 20)) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % (std::size_t{2} << 20), 0u);
    }
    for (const int32_t value : array) ASSERT_EQ(value, 0);
    array[size - 1] = 7;
    EXPECT_EQ(array.end()[-1], 7);
  }
}

TEST(HugeArray, MovesItsMemory) {
  HugeArray<int> a(10);
  a[3] = 5;
  HugeArray<int> b(std::move(a));
  EXPECT_EQ(b[3], 5);
  HugeArray<int> c;
  c = std::move(b);
  EXPECT_EQ(c[3], 5);
  EXPECT_EQ(c.size(), 10u);
}

}  // namespace
}  // namespace crinn
