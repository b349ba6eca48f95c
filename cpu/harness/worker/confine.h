// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// How a worker locks itself in. Each function returns nullptr, or the name of the step that the
/// machine refused (errno says why).
namespace crinn::worker {

inline constexpr char kModulePath[] = "/module.so";

/// The process dies with the judge's thread, cannot be traced, and leaves no core file.
const char* tie_to_parent();

/// An empty, read-only root that holds nothing but a copy of the module (where `module_fd` has
/// content). The old mount tree is gone afterwards.
const char* enter_empty_root(int module_fd);

/// No capability is left and none can come back.
const char* drop_privileges();

/// Resource limits. cpu_seconds 0: none.
const char* limit_resources(int64_t address_space_bytes, int64_t cpu_seconds, int threads);

/// Landlock: read and execute the module's file, nothing else; no TCP, no signals or abstract
/// sockets to the outside where the kernel knows these. `abi` receives the kernel's ABI, 0 where
/// there is no Landlock (which is not a failure here).
const char* landlock(int* abi);

/// The two seccomp filters. prepare() allocates; the first lets the loader work, the second lets
/// the module compute: anonymous memory without execution, the socket, clocks, nothing else. A
/// forbidden call is written to `report` and ends the process.
class SystemCallFilters {
 public:
  SystemCallFilters() = default;
  ~SystemCallFilters();
  SystemCallFilters(const SystemCallFilters&) = delete;
  SystemCallFilters& operator=(const SystemCallFilters&) = delete;

  const char* prepare(int threads, int32_t* report);
  const char* enter_first();
  const char* enter_second();

 private:
  void* loading_ = nullptr;
  void* computing_ = nullptr;
};

}  // namespace crinn::worker
