// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crinn/eval/defer_interrupt.h"

namespace crinn::eval {

/// From here on SIGINT and SIGTERM end the process at once with exit code 128 + signal and a line
/// on stderr. Jailed workers and compilers die with it (PDEATHSIG), caches are renamed into place
/// only when whole.
void exit_on_interrupt();

/// From here on the line does not say that nothing was written.
void note_results_written();

}  // namespace crinn::eval
