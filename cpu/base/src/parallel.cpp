// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "crinn/base/error.h"

namespace crinn {

void parallel_for_indexed(int threads, int64_t n, int64_t grain,
                          const std::function<void(int thread, int64_t begin, int64_t end)>& body) {
  grain = std::max<int64_t>(grain, 1);
  const int64_t ranges = (n + grain - 1) / grain;
  threads = static_cast<int>(std::min<int64_t>(threads, ranges));
  if (threads <= 1) {
    for (int64_t begin = 0; begin < n; begin += grain) body(0, begin, std::min(n, begin + grain));
    return;
  }
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&](int thread) {
    try {
      for (int64_t range; (range = next.fetch_add(1)) < ranges;) {
        body(thread, range * grain, std::min(n, (range + 1) * grain));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = ranges;
    }
  };
  {
    std::vector<std::jthread> pool;
    for (int thread = 1; thread < threads; ++thread) pool.emplace_back(work, thread);
    work(0);
  }
  if (failure) std::rethrow_exception(failure);
}

void parallel_for(int threads, int64_t n, int64_t grain,
                  const std::function<void(int64_t begin, int64_t end)>& body) {
  parallel_for_indexed(threads, n, grain,
                       [&](int, int64_t begin, int64_t end) { body(begin, end); });
}

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

void pin_to_core(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (core >= 0 && core < CPU_SETSIZE) CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    throw Error(ErrorCategory::kDevice,
                "pin_to_core: core " + std::to_string(core) + " is not available to this process");
  }
}

}  // namespace crinn
