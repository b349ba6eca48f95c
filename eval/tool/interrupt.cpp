// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <string_view>

namespace crinn::eval {

namespace {

std::atomic<bool> results_written{false};  // a handler has nothing else to ask

// Only async-signal-safe calls in here.
extern "C" void leave(int signal) {
  const std::string_view message = results_written
                                       ? "\ncrinn-eval: interrupted; what was written is whole\n"
                                       : "\ncrinn-eval: interrupted, no results were written\n";
  [[maybe_unused]] const auto ignored = write(STDERR_FILENO, message.data(), message.size());
  _exit(128 + signal);
}

}  // namespace

void exit_on_interrupt() {
  struct sigaction action = {};
  action.sa_handler = leave;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void note_results_written() { results_written = true; }

}  // namespace crinn::eval
