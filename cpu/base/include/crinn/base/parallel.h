// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

namespace crinn {

/// Calls body(begin, end) on disjoint ranges that cover [0, n), each at most `grain` long, from
/// `threads` threads (the caller is one of them). threads <= 1 runs inline and creates no thread.
/// Ranges are claimed dynamically: results must not depend on who runs which. The first exception
/// is rethrown in the caller once all threads have stopped.
void parallel_for(int threads, int64_t n, int64_t grain,
                  const std::function<void(int64_t begin, int64_t end)>& body);

/// The same with the index of the thread in [0, threads), for scratch per thread.
void parallel_for_indexed(int threads, int64_t n, int64_t grain,
                          const std::function<void(int thread, int64_t begin, int64_t end)>& body);

/// CPUs this process may run on.
int available_cores();

/// Binds the calling thread to one CPU. Throws Error (device) where the CPU is not available.
void pin_to_core(int core);

}  // namespace crinn
