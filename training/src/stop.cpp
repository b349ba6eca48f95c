// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/stop.h"

#include <csignal>

namespace crinn::train {

namespace {

// A handler can reach nothing but a global.
volatile std::sig_atomic_t received = 0;

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};

void remember(int signal) { received = signal; }

}  // namespace

StopSignals::StopSignals() {
  received = 0;
  struct sigaction action = {};
  action.sa_handler = remember;
  for (const int signal : kSignals) {
    action.sa_flags = signal == SIGINT ? SA_RESTART | static_cast<int>(SA_RESETHAND) : SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

int stop_signal() { return received; }

}  // namespace crinn::train
