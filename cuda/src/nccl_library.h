// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>
#include <nccl.h>

#include <string>

#include "crinn/base/error.h"

namespace crinn::gpu {

/// What is called of NCCL. The library (0.2 GB) is loaded when it is first asked for, not when a
/// tool starts.
struct NcclLibrary {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) init_rank;
  decltype(&ncclCommGetAsyncError) get_async_error;
  decltype(&ncclGetErrorString) get_error_string;
  decltype(&ncclGetLastError) get_last_error;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) abort;

  /// Throws Error (device) where the library is missing or has no non-blocking communicators.
  static const NcclLibrary& get() {
    static const NcclLibrary library;
    return library;
  }

 private:
  NcclLibrary() {
    void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(CRINN_CUDA_LIBRARY_DIR "/libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) throw Error(ErrorCategory::kDevice, std::string("NCCL: ") + dlerror());
    resolve(library, "ncclGetVersion", get_version);
    resolve(library, "ncclGetUniqueId", get_unique_id);
    resolve(library, "ncclCommInitRankConfig", init_rank);
    resolve(library, "ncclCommGetAsyncError", get_async_error);
    resolve(library, "ncclGetErrorString", get_error_string);
    resolve(library, "ncclGetLastError", get_last_error);
    resolve(library, "ncclAllGather", all_gather);
    resolve(library, "ncclCommFinalize", finalize);
    resolve(library, "ncclCommDestroy", destroy);
    resolve(library, "ncclCommAbort", abort);
  }

  template <class Function>
  static void resolve(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function) {
      throw Error(ErrorCategory::kDevice, std::string("NCCL: the library has no ") + name);
    }
  }
};

}  // namespace crinn::gpu
