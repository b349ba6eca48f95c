// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/defer_interrupt.h"

#include <atomic>

namespace crinn::eval {
namespace {

// A mask would not do: it is a thread's own, and another thread, a driver's for one, would take the
// signal.
std::atomic<int> noted{0};

extern "C" void note(int signal) { noted = signal; }

}  // namespace

DeferInterrupt::DeferInterrupt() {
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &previous_[0]);
  sigaction(SIGTERM, &action, &previous_[1]);
}

DeferInterrupt::~DeferInterrupt() {
  sigaction(SIGINT, &previous_[0], nullptr);
  sigaction(SIGTERM, &previous_[1], nullptr);
  if (const int signal = noted.exchange(0); signal != 0) raise(signal);
}

}  // namespace crinn::eval
