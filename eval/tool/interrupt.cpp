// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <unistd.h>

#include <string_view>

namespace crinn::eval {

namespace {

// Only async-signal-safe calls in here.
extern "C" void leave(int signal) {
  constexpr std::string_view kMessage = "\ncrinn-eval: interrupted, no results were written\n";
  [[maybe_unused]] const auto ignored = write(STDERR_FILENO, kMessage.data(), kMessage.size());
  _exit(128 + signal);
}

}  // namespace

void exit_on_interrupt() {
  struct sigaction action = {};
  action.sa_handler = leave;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace crinn::eval
