// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "crinn/base/parallel.h"

namespace crinn::test {

/// The memory node where the page at `address` lies; -1 where the kernel does not say.
inline int node_of(const void* address) {
  int node = -1;
  const unsigned long flags = MPOL_F_NODE | MPOL_F_ADDR;
  syscall(SYS_get_mempolicy, &node, nullptr, 0ul, address, flags);
  return node;
}

/// By memory node, a core next to it that this process may run on.
inline std::map<int, int> core_of_each_node() {
  std::map<int, int> cores;
  std::jthread([&cores] {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int core = 0; core < CPU_SETSIZE; ++core) {
      unsigned at = 0, node = 0;
      if (!CPU_ISSET(core, &allowed)) continue;
      pin_to_core(core);
      if (syscall(SYS_getcpu, &at, &node, nullptr) == 0)
        cores.emplace(static_cast<int>(node), core);
    }
  }).join();
  return cores;
}

}  // namespace crinn::test
