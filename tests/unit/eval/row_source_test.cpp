// SPDX-License-Identifier: Apache-2.0
#include "row_source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace crinn::eval {
namespace {

TEST(ForEachSlice, GivesEveryRowOnceInOrder) {
  const RowSource source{23, 1, [](int64_t first, int64_t count) {
                           Matrix rows(count, 1);
                           for (int64_t i = 0; i < count; ++i) {
                             rows.row(i)[0] = static_cast<float>(first + i);
                           }
                           return rows;
                         }};
  for (const int64_t slice_rows : {1, 5, 22, 23, 100}) {
    int64_t next = 0;
    for_each_slice(source, slice_rows, [&](const Matrix& slice, int64_t first) {
      EXPECT_EQ(first, next);
      EXPECT_EQ(slice.rows(), std::min(slice_rows, 23 - first));
      for (int64_t i = 0; i < slice.rows(); ++i) {
        EXPECT_EQ(slice.row(i)[0], static_cast<float>(next++));
      }
    });
    EXPECT_EQ(next, 23);
  }
  int uses = 0;
  for_each_slice({0, 1, source.read}, 5, [&](const Matrix&, int64_t) { ++uses; });
  EXPECT_EQ(uses, 0);
}

TEST(ForEachSlice, ReadsOneSliceAheadAndNoMore) {
  std::atomic<int> started{0};
  const RowSource source{30, 1, [&](int64_t, int64_t count) {
                           ++started;
                           return Matrix(count, 1);
                         }};
  int used = 0;
  for_each_slice(source, 10, [&](const Matrix&, int64_t) {
    const int due = std::min(++used + 1, 3);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (started < due && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(started, due);
  });
  EXPECT_EQ(used, 3);
}

TEST(ForEachSlice, ThrowsAnErrorOfReadingWhereTheSliceWouldBeUsed) {
  const RowSource source{30, 1, [](int64_t first, int64_t count) {
                           if (first == 20) throw std::runtime_error("row 20");
                           return Matrix(count, 1);
                         }};
  std::vector<int64_t> used;
  EXPECT_THROW(
      for_each_slice(source, 10, [&](const Matrix&, int64_t first) { used.push_back(first); }),
      std::runtime_error);
  EXPECT_EQ(used, (std::vector<int64_t>{0, 10}));
}

TEST(ForEachSlice, WaitsForTheReaderWhereUseThrows) {
  std::atomic<int> reading{0};
  const RowSource source{30, 1, [&](int64_t, int64_t count) {
                           ++reading;
                           std::this_thread::sleep_for(std::chrono::milliseconds(20));
                           --reading;
                           return Matrix(count, 1);
                         }};
  EXPECT_THROW(
      for_each_slice(source, 10, [](const Matrix&, int64_t) { throw std::runtime_error("use"); }),
      std::runtime_error);
  EXPECT_EQ(reading, 0);
}

}  // namespace
}  // namespace crinn::eval
