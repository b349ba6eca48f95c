// SPDX-License-Identifier: Apache-2.0
// The process that runs one candidate's code: locks itself in, loads the module, and answers the
// judge's requests. It is started by the judge in fresh namespaces and never by hand.
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "../src/protocol.h"
#include "confine.h"
#include "crinn/harness/module_abi.h"

namespace crinn::worker {
namespace {

using harness::ModuleTable;
using namespace harness::protocol;

struct Data {
  const char* base = nullptr;
  const char* graph = nullptr;
  char* exchange = nullptr;
};

bool receive(Message& message) {
  ssize_t got;
  do {
    got = recv(kSocketFd, &message, sizeof message, 0);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof message);
}

void reply(const Message& message) { send(kSocketFd, &message, sizeof message, MSG_NOSIGNAL); }

void set_text(Message& message, const char* text) {
  std::snprintf(message.text, sizeof message.text, "%s", text);
}

[[noreturn]] void setup_failed(Message message, const char* step) {
  message.op = Op::kSetupFailed;
  std::snprintf(message.text, sizeof message.text, "%s: %s", step, std::strerror(errno));
  reply(message);
  _exit(1);
}

// Mapped at a multiple of 2 MiB, so that huge pages of the memory file are mapped as such, and
// populated: the first query must not pay for page tables.
void* map_file(int fd, int64_t bytes, int protection) {
  if (bytes == 0) return nullptr;
  constexpr std::uintptr_t kHuge = std::uintptr_t{2} << 20;
  const auto size = static_cast<std::size_t>(bytes);
  void* reserved = mmap(nullptr, size + kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return nullptr;
  const auto aligned = (reinterpret_cast<std::uintptr_t>(reserved) + kHuge - 1) / kHuge * kHuge;
  void* data =
      mmap(reinterpret_cast<void*>(aligned), size, protection, MAP_SHARED | MAP_FIXED, fd, 0);
  if (data == MAP_FAILED) return nullptr;
  madvise(data, size, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_READ
  madvise(data, size, MADV_POPULATE_READ);
#endif
  return data;
}

// Order matters: data first (needs the files), then the root, privileges, limits, filters.
const ModuleTable* confine(const Message& request, Data& data) {
  const auto require = [&](const char* failed) {
    if (failed != nullptr) setup_failed(request, failed);
  };
  require(tie_to_parent());
  data.base = static_cast<const char*>(map_file(kBaseFd, request.base_bytes, PROT_READ));
  data.graph = static_cast<const char*>(map_file(kGraphFd, request.graph_bytes, PROT_READ));
  data.exchange =
      static_cast<char*>(map_file(kExchangeFd, request.exchange_bytes, PROT_READ | PROT_WRITE));
  if ((request.base_bytes > 0 && data.base == nullptr) ||
      (request.graph_bytes > 0 && data.graph == nullptr) || data.exchange == nullptr) {
    setup_failed(request, "mmap of the data");
  }
  auto* header = reinterpret_cast<ExchangeHeader*>(data.exchange);
  SystemCallFilters filters;
  require(filters.prepare(request.threads, &header->forbidden_syscall));
  require(enter_empty_root(kModuleFd));
  require(drop_privileges());
  const bool has_module = access(kModulePath, R_OK) == 0;
  for (int fd = kModuleFd; fd < kDescriptorEnd; ++fd) close(fd);
  require(limit_resources(request.address_space_bytes, request.cpu_seconds, request.threads));
  Message ready = request;
  int abi = 0;
  require(landlock(&abi));
  ready.landlock = abi;
  require(filters.enter_first());

  const ModuleTable* table = nullptr;
  if (has_module) {
    void* module = dlopen(kModulePath, RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) {
      ready.op = Op::kFailed;
      set_text(ready, dlerror());
      reply(ready);
      _exit(1);
    }
    const auto entry =
        reinterpret_cast<const ModuleTable* (*)()>(dlsym(module, harness::kModuleTableSymbol));
    table = entry != nullptr ? entry() : nullptr;
  }
  require(filters.enter_second());
  ready.op = Op::kReady;
  if (has_module && (table == nullptr || table->version != harness::kModuleAbiVersion)) {
    ready.op = Op::kFailed;
    set_text(ready, "the module exports no table of this version");
  }
  reply(ready);
  return table;
}

class Session {
 public:
  Session(const ModuleTable* table, const Data& data) : table_(table), data_(data) {}

  void serve(Message& m) {
    switch (m.op) {
      case Op::kPrepare: return prepare(m);
      case Op::kSearch: return search(m);
      case Op::kSearchTimed: return search_timed(m);
      case Op::kBuild: return build(m);
      case Op::kRelease:
        if (handle_ != nullptr) table_->release(handle_);
        handle_ = nullptr;
        return;
      default: m.op = Op::kFailed;
    }
  }

 private:
  void prepare(const Message& m) {
    const char* graph = data_.graph + m.graph_offset;
    GraphHeader header;
    std::memcpy(&header, graph, sizeof header);
    const auto* values = reinterpret_cast<const int32_t*>(graph + sizeof header);
    harness::PrepareArguments in{};
    in.base = reinterpret_cast<const float*>(data_.base + m.base_offset);
    in.n = m.n;
    in.d = m.d;
    in.metric = m.metric;
    in.degree = static_cast<int32_t>(header.degree);
    in.neighbors = values;
    in.entry_points = values + header.n * header.degree;
    in.entry_count = header.entry_count;
    in.order = in.entry_points + header.entry_count;
    in.order_count = header.order_count;
    in.seed = m.seed;
    in.threads = m.threads;
    handle_ = table_->prepare(in);
  }

  void search(Message& m) {
    table_->search(handle_, queries(m), m.count, m.d, m.k, m.ef, results(m));
    m.distances = table_->distance_count(handle_);
  }

  void search_timed(Message& m) {
    auto* latency = reinterpret_cast<float*>(data_.exchange + m.extra_offset);
    for (int64_t i = 0; i < m.count; ++i) {
      timespec start, end;
      clock_gettime(CLOCK_MONOTONIC, &start);
      table_->search(handle_, queries(m) + i * m.d, 1, m.d, m.k, m.ef, results(m) + i * m.k);
      clock_gettime(CLOCK_MONOTONIC, &end);
      latency[i] = static_cast<float>(static_cast<double>(end.tv_sec - start.tv_sec) * 1e6 +
                                      static_cast<double>(end.tv_nsec - start.tv_nsec) * 1e-3);
    }
    m.distances = table_->distance_count(handle_);
  }

  void build(Message& m) {
    harness::BuildArguments in{};
    in.base = reinterpret_cast<const float*>(data_.base + m.base_offset);
    in.n = m.n;
    in.d = m.d;
    in.metric = m.metric;
    in.degree = m.degree;
    in.ef_construction = m.ef_construction;
    in.threads = m.threads;
    in.seed = m.seed;
    in.neighbors = results(m);
    in.entry_points = in.neighbors + m.n * m.degree;
    in.entry_capacity = kEntryCapacity;
    in.order = in.entry_points + kEntryCapacity;
    const harness::BuildResult built = table_->build(in);
    m.built_n = built.n;
    m.built_degree = built.degree;
    m.neighbor_count = built.neighbor_count;
    m.entry_count = built.entry_count;
    m.order_count = built.order_count;
  }

  const float* queries(const Message& m) const {
    return reinterpret_cast<const float*>(data_.exchange + m.query_offset);
  }
  int32_t* results(const Message& m) const {
    return reinterpret_cast<int32_t*>(data_.exchange + m.result_offset);
  }

  const ModuleTable* table_;
  Data data_;
  void* handle_ = nullptr;
};

void run() {
  Message message;
  if (!receive(message) || message.op != Op::kConfine) return;
  Data data;
  Session session(confine(message, data), data);
  while (receive(message)) {
    const Op request = message.op;
    try {
      session.serve(message);
      if (message.op == request) message.op = Op::kDone;
    } catch (const std::bad_alloc&) {
      message.op = Op::kNoMemory;
    } catch (const std::exception& failure) {
      message.op = Op::kFailed;
      set_text(message, failure.what());
    } catch (...) {
      message.op = Op::kFailed;
      set_text(message, "an exception of an unknown type");
    }
    reply(message);
  }
}

}  // namespace
}  // namespace crinn::worker

int main() {
  crinn::worker::run();
  _exit(0);  // no destructor of the module runs
}
