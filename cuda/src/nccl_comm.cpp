// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>

#include "check.h"
#include "crinn/gpu/comm.h"
#include "crinn/gpu/knn.h"
#include "device_memory.h"
#include "host_comm.h"
#include "nccl_library.h"

namespace crinn::gpu {
namespace {

using namespace std::chrono_literals;

struct DestroyStream {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};

/// What rank 0 tells the others, and they tell it.
struct Greeting {
  int version;      // of the NCCL library
  ncclUniqueId id;  // rank 0's counts
};

class NcclComm final : public Comm {
 public:
  NcclComm(const Launch& launch, int device, const CommTimeouts& timeouts)
      : host_(launch, timeouts), device_(device), timeouts_(timeouts) {
    or_abort("make_nccl_comm", [&] {
      if (const DeviceStatus status = device_status(device); !status.available) {
        throw Error(ErrorCategory::kDevice, status.reason);
      }
      nccl_ = &NcclLibrary::get();
      CRINN_CHECK_CUDA(cudaSetDevice(device));
      cudaStream_t stream = nullptr;
      CRINN_CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
      stream_.reset(stream);
      cudaEvent_t event = nullptr;
      CRINN_CHECK_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
      event_.reset(event);
      init(exchange_greetings());
    });
  }

  ~NcclComm() override {
    if (!comm_) return;
    host_.leave();  // so that nobody who calls again waits for what follows
    cudaSetDevice(device_);
    if (!host_.failed() && finalize()) {
      nccl_->destroy(comm_);
    } else {
      nccl_->abort(comm_);
    }
  }

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  std::vector<std::byte> all_gather(std::span<const std::byte> mine) override {
    // Over TCP first: it names a rank that does not come, for which NCCL would wait in vain, and
    // one that gives another number of bytes, which NCCL would not notice.
    require_same_bytes(mine.size());
    std::vector<std::byte> all(mine.size() * static_cast<std::size_t>(size()));
    if (all.empty()) return all;
    or_abort("ncclAllGather", [&] {
      CRINN_CHECK_CUDA(cudaSetDevice(device_));
      reserve(static_cast<int64_t>(all.size()));
      std::byte* place = buffer_.get() + mine.size() * static_cast<std::size_t>(rank());
      CRINN_CHECK_CUDA(
          cudaMemcpyAsync(place, mine.data(), mine.size(), cudaMemcpyHostToDevice, stream_.get()));
      const Deadline deadline = Clock::now() + timeouts_.gather;
      check(nccl_->all_gather(place, buffer_.get(), mine.size(), ncclUint8, comm_, stream_.get()));
      wait(deadline, [] { return true; });  // until it is in the stream
      CRINN_CHECK_CUDA(cudaEventRecord(event_.get(), stream_.get()));
      wait(deadline, [&] {
        const cudaError_t status = cudaEventQuery(event_.get());
        if (status != cudaErrorNotReady) CRINN_CHECK_CUDA(status);
        return status == cudaSuccess;
      });
      CRINN_CHECK_CUDA(cudaMemcpy(all.data(), buffer_.get(), all.size(), cudaMemcpyDeviceToHost));
    });
    return all;
  }

 private:
  /// Runs a step. A fault aborts NCCL's work on the device; all ranks hear of it.
  template <class Step>
  void or_abort(const char* operation, const Step& step) {
    operation_ = operation;
    try {
      step();
    } catch (const Error& error) {
      if (comm_) nccl_->abort(std::exchange(comm_, nullptr));
      if (host_.failed()) throw;
      host_.fail(error.category(), operation, error.what());
    }
  }

  void require_same_bytes(uint64_t mine) {
    const auto all = host_.all_gather(std::as_bytes(std::span(&mine, 1)));
    for (int r = 0; r < size(); ++r) {
      uint64_t theirs;
      std::memcpy(&theirs, all.data() + static_cast<std::size_t>(r) * sizeof theirs, sizeof theirs);
      if (theirs == mine) continue;
      throw Error(ErrorCategory::kUsage, fmt::format("all_gather: rank {} gives {} bytes, rank {} "
                                                     "gives {}",
                                                     rank(), mine, r, theirs));
    }
  }

  /// NCCL's id of this run. Throws Error (device) where ranks have different NCCL libraries.
  ncclUniqueId exchange_greetings() {
    Greeting mine{};
    check(nccl_->get_version(&mine.version));
    if (rank() == 0) check(nccl_->get_unique_id(&mine.id));
    const auto all = host_.all_gather(std::as_bytes(std::span(&mine, 1)));
    Greeting first;
    std::memcpy(&first, all.data(), sizeof first);
    if (first.version != mine.version) {
      throw Error(ErrorCategory::kDevice,
                  fmt::format("NCCL is {} here and {} at rank 0", mine.version, first.version));
    }
    return first.id;
  }

  void init(const ncclUniqueId& id) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(nccl_->init_rank(&comm_, size(), id, rank(), &config));
    wait(Clock::now() + timeouts_.meeting, [] { return true; });
  }

  /// Until NCCL has nothing in progress and done() holds, both of which are asked again and again.
  template <class Done>
  void wait(Deadline deadline, const Done& done) {
    for (std::chrono::microseconds pause = 10us;;
         pause = std::min<std::chrono::microseconds>(2 * pause, 5ms)) {
      ncclResult_t state = ncclSuccess;
      check(nccl_->get_async_error(comm_, &state));
      check(state);
      if (state == ncclSuccess && done()) return;
      host_.watch(operation_);
      if (Clock::now() >= deadline) {
        throw Error(ErrorCategory::kDevice, "not done in time, though all ranks are alive");
      }
      std::this_thread::sleep_for(pause);
    }
  }

  void check(ncclResult_t result) const {
    if (result == ncclSuccess || result == ncclInProgress) return;
    const char* detail = nccl_->get_last_error(comm_);
    throw Error(ErrorCategory::kDevice,
                fmt::format("device {}: {}{}{}", device_, nccl_->get_error_string(result),
                            detail && *detail ? ": " : "", detail ? detail : ""));
  }

  /// Whether NCCL has ended in order: others have read what they need of this rank.
  bool finalize() {
    ncclResult_t state = nccl_->finalize(comm_);
    const Deadline deadline = Clock::now() + 10s;
    while (state == ncclInProgress && Clock::now() < deadline) {
      std::this_thread::sleep_for(1ms);
      if (nccl_->get_async_error(comm_, &state) != ncclSuccess) return false;
    }
    return state == ncclSuccess;
  }

  /// Room for all ranks' bytes.
  void reserve(int64_t bytes) {
    if (bytes <= capacity_) return;
    capacity_ = 0;
    buffer_ = {};
    buffer_ = DeviceArray<std::byte>(bytes);
    capacity_ = bytes;
  }

  HostComm host_;
  int device_;
  CommTimeouts timeouts_;
  const char* operation_ = "";
  const NcclLibrary* nccl_ = nullptr;
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, DestroyStream> stream_;
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, DestroyEvent> event_;
  DeviceArray<std::byte> buffer_;
  int64_t capacity_ = 0;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::unique_ptr<Comm> make_nccl_comm(const Launch& launch, int device,
                                     const CommTimeouts& timeouts) {
  return std::make_unique<NcclComm>(launch, device, timeouts);
}

}  // namespace crinn::gpu
