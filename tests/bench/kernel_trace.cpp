// SPDX-License-Identifier: Apache-2.0
#include "kernel_trace.h"

#include <cuda_runtime_api.h>
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>

#include "check.h"

namespace crinn::bench {
namespace {

struct Totals {
  std::mutex mutex;
  std::map<std::string, KernelTime, std::less<>> by_symbol;
};

/// CUPTI calls back, from a thread of its own, without an argument of ours.
Totals& totals() {
  static Totals all;
  return all;
}

void CUPTIAPI give_buffer(uint8_t** buffer, std::size_t* size, std::size_t* most_records) {
  constexpr std::size_t kBytes = std::size_t{4} << 20;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(64, kBytes));
  *size = *buffer ? kBytes : 0;
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext, uint32_t, uint8_t* buffer, std::size_t, std::size_t valid) {
  Totals& all = totals();
  const std::lock_guard lock(all.mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
    if (record->kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) continue;
    const auto* kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
    KernelTime& total = all.by_symbol[kernel->name];
    total.seconds += 1e-9 * static_cast<double>(kernel->end - kernel->start);
    ++total.launches;
  }
  std::free(buffer);
}

std::string readable(const std::string& symbol) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
  std::string name = status == 0 ? demangled.get() : symbol;
  if (name.starts_with("void ")) name.erase(0, 5);
  constexpr std::string_view kUnnamed = "(anonymous namespace)::";
  for (std::size_t at = 0; (at = name.find(kUnnamed)) != std::string::npos;) {
    name.erase(at, kUnnamed.size());
  }
  return name.substr(0, name.find_first_of("<("));
}

std::string text_of(CUptiResult result) {
  const char* text = nullptr;
  cuptiGetResultString(result, &text);
  return text ? text : "unknown";
}

/// Records from its beginning; at its end all records have been taken.
struct Recording {
  CUptiResult result = cuptiActivityRegisterCallbacks(give_buffer, take_buffer);
  Recording() {
    if (result == CUPTI_SUCCESS) {
      result = cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    }
  }
  ~Recording() {
    cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    cuptiActivityDisable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
};

}  // namespace

double KernelTrace::seconds() const {
  double sum = 0;
  for (const KernelTime& kernel : kernels) sum += kernel.seconds;
  return sum;
}

KernelTrace trace_kernels(const std::function<void()>& body) {
  KernelTrace trace;
  totals().by_symbol.clear();
  {
    const Recording recording;
    if (recording.result != CUPTI_SUCCESS) {
      trace.missing = "CUPTI: " + text_of(recording.result);
      return trace;
    }
    body();
    CRINN_CHECK_CUDA(cudaDeviceSynchronize());
  }
  Totals& all = totals();
  const std::lock_guard lock(all.mutex);
  std::map<std::string, KernelTime> by_name;
  for (const auto& [symbol, time] : all.by_symbol) {
    KernelTime& total = by_name[readable(symbol)];
    total.seconds += time.seconds;
    total.launches += time.launches;
  }
  for (auto& [name, time] : by_name) {
    time.name = name;
    trace.kernels.push_back(time);
  }
  std::sort(trace.kernels.begin(), trace.kernels.end(),
            [](const KernelTime& a, const KernelTime& b) { return a.seconds > b.seconds; });
  return trace;
}

}  // namespace crinn::bench
