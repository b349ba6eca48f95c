// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

namespace crinn::eval {

/// From here on SIGINT and SIGTERM end the process at once with exit code 128 + signal and a line
/// on stderr. Jailed workers and compilers die with it (PDEATHSIG), caches are renamed into place
/// only when whole.
void exit_on_interrupt();

/// Holds SIGINT and SIGTERM back while results are written: all of them or none.
class DeferInterrupt {
 public:
  DeferInterrupt() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, &previous_);
  }
  ~DeferInterrupt() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }
  DeferInterrupt(const DeferInterrupt&) = delete;
  DeferInterrupt& operator=(const DeferInterrupt&) = delete;

 private:
  sigset_t previous_;
};

}  // namespace crinn::eval
