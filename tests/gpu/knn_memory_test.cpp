// SPDX-License-Identifier: Apache-2.0
// Input in the host's and in the device's memory.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "crinn/ann/knn_half.h"
#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "crinn/eval/dataset.h"
#include "crinn/gpu/knn.h"
#include "device_memory.h"
#include "on_device.h"

namespace crinn::gpu {
namespace {

class GpuKnnMemory : public OnDevice {};

/// Rows of whole numbers of a type, strided, in the host's and in the device's memory.
template <class T>
void expect_equal_in_both_memories(ElementType type, int64_t low, int64_t high) {
  constexpr int64_t kRows = 70001, kQueries = 33, kColumns = 30, kStride = 32;
  Rng rng(3);
  std::vector<T> values;
  std::vector<float> floats;
  for (int64_t i = 0; i < (kRows + kQueries) * kStride; ++i) {
    const auto value = low + static_cast<int64_t>(rng.below(static_cast<uint64_t>(high - low + 1)));
    floats.push_back(static_cast<float>(value));
    if constexpr (std::is_same_v<T, uint16_t>) {
      values.push_back(ann::half_bits(floats.back()));
    } else {
      values.push_back(static_cast<T>(value));
    }
  }
  const MatrixView<const float> base(floats.data(), kRows, kColumns, kStride);
  const MatrixView<const float> queries(base.row(kRows), kQueries, kColumns, kStride);
  const auto expected = eval::exact_knn(base, queries, ann::Metric::kL2, 10, 4);
  DeviceArray<T> there(static_cast<int64_t>(values.size()));
  there.upload(0, values.data(), static_cast<int64_t>(values.size()));
  for (const bool on_device : {false, true}) {
    const T* const data = on_device ? there.get() : values.data();
    const KnnMatrix all(data, type, kRows + kQueries, kColumns, kStride, on_device);
    for (const int64_t memory : {int64_t{0}, int64_t{50} << 20}) {
      const Neighbors found = exact_knn(all.slice(kRows, kQueries), all.slice(0, kRows),
                                        ann::Metric::kL2, 10, {{0}, memory, KnnPath::kAuto});
      EXPECT_EQ(found.ids, expected.ids) << found.plan;
      EXPECT_EQ(found.distances, expected.distances) << found.plan;
    }
  }
}

TEST_F(GpuKnnMemory, ReadsEveryElementTypeInTheHostsAndInTheDevicesMemory) {
  expect_equal_in_both_memories<float>(ElementType::kFp32, -9000, 9000);
  expect_equal_in_both_memories<uint16_t>(ElementType::kFp16, -2000, 2000);
  expect_equal_in_both_memories<uint8_t>(ElementType::kU8, 0, 255);
  expect_equal_in_both_memories<int8_t>(ElementType::kI8, -128, 127);
}

TEST_F(GpuKnnMemory, RefusesMemoryThatIsNotTheDevices) {
  const std::vector<float> rows(64);
  const KnnMatrix matrix(rows.data(), ElementType::kFp32, 8, 8, 8, true);
  try {
    exact_knn(matrix, matrix, ann::Metric::kL2, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    EXPECT_NE(std::string(error.what()).find("in a device's memory"), std::string::npos);
  }
}

}  // namespace
}  // namespace crinn::gpu
