// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace crinn::train {

/// Turns SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 into a request that the trainer looks at between
/// candidates. The second SIGINT ends the process at once.
class StopSignals {
 public:
  /// Installs the handlers; the destructor gives the signals their default action.
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

/// The number of the signal that came since StopSignals was made, or 0.
int stop_signal();

/// What the trainer throws to itself when it finds a request.
struct Stopped {
  int signal = 0;
};

}  // namespace crinn::train
