// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

namespace crinn::eval {

/// Holds SIGINT and SIGTERM back, in all threads, while files are written: all of them or none, and
/// no temporary file stays. A signal that came is raised again at the end. May be nested, but not
/// overlap in several threads.
class DeferInterrupt {
 public:
  DeferInterrupt();
  ~DeferInterrupt();
  DeferInterrupt(const DeferInterrupt&) = delete;
  DeferInterrupt& operator=(const DeferInterrupt&) = delete;

 private:
  struct sigaction previous_[2];  // of SIGINT, SIGTERM
};

}  // namespace crinn::eval
