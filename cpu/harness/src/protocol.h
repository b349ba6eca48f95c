// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// The messages between the judge and a worker process, over a SEQPACKET socket, and the layout of
/// the memory that they share. Both sides are built together: plain structs, no versioning.
namespace crinn::harness::protocol {

/// The descriptors that a worker starts with.
enum Descriptor : int {
  kSocketFd = 3,
  kModuleFd = 4,    ///< the compiled module, read-only
  kBaseFd = 5,      ///< sealed memory, read-only
  kGraphFd = 6,     ///< sealed memory, read-only; may be empty
  kExchangeFd = 7,  ///< queries in, results out
  kDescriptorEnd = 8,
};

enum class Op : uint32_t {
  kConfine,  ///< first message: limits and layers; the reply (kReady) comes once the module is in
  kPrepare,
  kSearch,
  kSearchTimed,  ///< single queries; latency of each in the exchange, informational
  kBuild,
  kRelease,
  kReady,
  kDone,
  kFailed,       ///< an exception; `text` says which
  kNoMemory,     ///< std::bad_alloc
  kSetupFailed,  ///< the confinement could not be completed: the machine's fault
};

struct Message {
  Op op = Op::kDone;
  int32_t metric = 0, degree = 0, k = 0, ef = 0, ef_construction = 0, threads = 1;
  uint64_t nonce = 0;  ///< chosen by the judge for each request, echoed in the reply
  uint64_t seed = 0;
  int64_t n = 0, d = 0, count = 0;
  int64_t base_offset = 0, graph_offset = 0;                       ///< bytes
  int64_t query_offset = 0, result_offset = 0, extra_offset = 0;   ///< bytes in the exchange
  int64_t base_bytes = 0, graph_bytes = 0, exchange_bytes = 0;     ///< kConfine
  int64_t address_space_bytes = 0, cpu_seconds = 0, landlock = 1;  ///< kConfine
  uint64_t distances = 0;
  int64_t built_n = 0, built_degree = 0, neighbor_count = 0, entry_count = 0, order_count = 0;
  char text[256] = {};
};

/// First page of the exchange.
struct ExchangeHeader {
  int32_t forbidden_syscall;  ///< -1, or the number of the call that ended the worker
};
inline constexpr int64_t kExchangeHeaderBytes = 4096;

inline constexpr int kExitForbiddenSyscall = 159;
inline constexpr int64_t kEntryCapacity = 4096;

/// A graph in memory: this header, neighbours [n, degree], entry points, order, all int32.
struct GraphHeader {
  int64_t n, degree, entry_count, order_count;
};

}  // namespace crinn::harness::protocol
