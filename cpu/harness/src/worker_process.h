// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "crinn/harness/measurement.h"
#include "protocol.h"
#include "shared_memory.h"

namespace crinn::harness {

/// How a candidate failed: an expected outcome.
struct Failure {
  Outcome outcome = Outcome::kCrashed;
  std::string evidence;
};

template <class T>
using Expected = tl::expected<T, Failure>;

struct WorkerSpec {
  std::filesystem::path module;              ///< compiled module; empty: none (a probe)
  const SharedMemory* base = nullptr;        ///< sealed; nullptr: none
  const SharedMemory* graph = nullptr;       ///< sealed; nullptr: none
  int64_t exchange_bytes = 0;                ///< beyond the header page
  int64_t private_bytes = int64_t{8} << 30;  ///< address space on top of the shared memory
  int64_t cpu_seconds = 0;                   ///< RLIMIT_CPU; 0: the deadlines bound it
  int core = -1;                             ///< -1: any
  int threads = 1;                           ///< > 1: the worker may create threads
};

struct Clocks {
  double cpu = 0;   ///< seconds, of all threads of the worker
  double wall = 0;  ///< seconds, CLOCK_MONOTONIC_RAW
};

/// One candidate process in its own namespaces, tied to this object: the destructor kills it with
/// everything it started. Not for use from several threads at once; must be destroyed by the
/// thread that started it or earlier (the process dies with that thread).
class WorkerProcess {
 public:
  /// Starts, confines, and loads the module. Throws Error (device) when the machine refuses a
  /// mandatory layer; a module that crashes in a constructor is a Failure.
  static Expected<WorkerProcess> start(const WorkerSpec& spec, double deadline_seconds);

  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&& other) noexcept;
  ~WorkerProcess();

  /// Sends a request and waits for its reply. `doing` goes into the evidence ("search at ef 40").
  Expected<protocol::Message> call(protocol::Message request, double deadline_seconds,
                                   const std::string& doing);

  /// Memory shared with the worker, without its header page.
  char* exchange() { return exchange_.data() + protocol::kExchangeHeaderBytes; }
  int64_t exchange_bytes() const { return exchange_.bytes() - protocol::kExchangeHeaderBytes; }

  Clocks clocks() const;
  /// Resident anonymous memory: what the module allocated, without shared memory and files.
  int64_t private_bytes() const;
  /// Kernel's Landlock ABI as the worker saw it; 0: none.
  int landlock_abi() const { return landlock_abi_; }
  pid_t pid() const { return pid_; }
  /// Allows only these CPUs from now on.
  void set_cores(const std::vector<int>& cores);

 private:
  WorkerProcess() = default;
  Expected<protocol::Message> wait_reply(const protocol::Message& request, double deadline_seconds,
                                         const std::string& doing);
  Failure describe_death(const std::string& doing);
  void kill_and_reap();

  pid_t pid_ = -1;
  int socket_ = -1;
  clockid_t cpu_clock_ = 0;
  int landlock_abi_ = 0;
  uint64_t next_nonce_ = 0;
  int wait_status_ = 0;
  SharedMemory exchange_;
};

}  // namespace crinn::harness
