// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "crinn/base/error.h"

namespace crinn {
namespace {

TEST(ParallelFor, VisitsEveryIndexOnceAtAnyThreadCountAndGrain) {
  for (const int threads : {1, 2, 5}) {
    for (const int64_t n : {0, 1, 7, 1000}) {
      for (const int64_t grain : {1, 3, 2000}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
        parallel_for(threads, n, grain, [&](int64_t begin, int64_t end) {
          EXPECT_LE(end - begin, grain);
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        for (const auto& count : visits) ASSERT_EQ(count.load(), 1);
      }
    }
  }
}

TEST(ParallelFor, OneThreadRunsInTheCaller) {
  const auto caller = std::this_thread::get_id();
  parallel_for(1, 10, 1, [&](int64_t, int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(ParallelFor, RethrowsInTheCaller) {
  EXPECT_THROW(parallel_for(3, 100, 1,
                            [](int64_t begin, int64_t) {
                              if (begin == 41) throw std::runtime_error("41");
                            }),
               std::runtime_error);
}

TEST(PinToCore, RefusesACoreThatIsNotThere) { EXPECT_THROW(pin_to_core(1 << 20), Error); }

}  // namespace
}  // namespace crinn
