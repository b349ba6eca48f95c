// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/defer_interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace crinn::eval {
namespace {

std::atomic<int> caught{0};
extern "C" void count(int) { ++caught; }

/// Counts SIGINT and SIGTERM for the length of a scope.
class Counter {
 public:
  Counter() {
    caught = 0;
    struct sigaction action = {};
    action.sa_handler = count;
    sigaction(SIGINT, &action, &previous_[0]);
    sigaction(SIGTERM, &action, &previous_[1]);
  }
  ~Counter() {
    sigaction(SIGINT, &previous_[0], nullptr);
    sigaction(SIGTERM, &previous_[1], nullptr);
  }

 private:
  struct sigaction previous_[2];
};

TEST(DeferInterrupt, RaisesASignalAtTheEndOfTheOutermostScope) {
  const Counter counter;
  {
    const DeferInterrupt outer;
    {
      const DeferInterrupt inner;
      raise(SIGINT);
      EXPECT_EQ(caught, 0);
    }
    EXPECT_EQ(caught, 0);
  }
  EXPECT_EQ(caught, 1);
  raise(SIGINT);
  EXPECT_EQ(caught, 2);
}

TEST(DeferInterrupt, HoldsBackWhatAnotherThreadWouldTake) {
  const Counter counter;
  {
    const DeferInterrupt whole;
    std::thread([] { pthread_kill(pthread_self(), SIGTERM); }).join();
    EXPECT_EQ(caught, 0);
  }
  EXPECT_EQ(caught, 1);
}

TEST(DeferInterrupt, RaisesNothingWhereNothingCame) {
  const Counter counter;
  { const DeferInterrupt whole; }
  EXPECT_EQ(caught, 0);
}

}  // namespace
}  // namespace crinn::eval
