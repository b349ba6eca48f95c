// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace crinn::harness {

/// What the machine gives to the jail.
struct Layers {
  std::vector<std::string> active;
  std::vector<std::string> missing;  ///< optional ones that are not there
  int64_t empty_worker_bytes = 0;    ///< private memory of a worker without a module
};

/// Starts a worker without a module on `core` and looks at it from outside. Throws Error (device)
/// that names a mandatory layer which is missing.
Layers probe_layers(int core);

/// CPUs that this process may run on, ascending.
std::vector<int> allowed_cores();

/// Confines the calling thread to cores while it lives, then restores what was.
class PinnedThread {
 public:
  explicit PinnedThread(const std::vector<int>& cores);
  ~PinnedThread();
  PinnedThread(const PinnedThread&) = delete;
  PinnedThread& operator=(const PinnedThread&) = delete;

 private:
  std::vector<int> before_;
};

/// Share of all CPU time since `before` that the hypervisor gave to others.
struct StealClock {
  int64_t steal = 0, total = 0;
  static StealClock now();
  double fraction_since(const StealClock& before) const;
};

}  // namespace crinn::harness
