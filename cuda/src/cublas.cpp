// SPDX-License-Identifier: Apache-2.0
#include "cublas.h"

#include <cublas_api.h>
#include <dlfcn.h>

#include <string>

#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

template <class Function>
void resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) {
    throw Error(ErrorCategory::kDevice, std::string("cuBLAS: the library has no ") + name);
  }
}

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCategory::kDevice,
              std::string(call) + ": cuBLAS status " + std::to_string(static_cast<int>(status)));
}

}  // namespace

struct Cublas::Library {
  decltype(&cublasCreate_v2) create;
  decltype(&cublasDestroy_v2) destroy;
  decltype(&cublasGemmEx_64) gemm;

  Library() {
    const std::string name = "libcublas.so." + std::to_string(CUBLAS_VER_MAJOR);
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen((CRINN_CUDA_LIBRARY_DIR "/" + name).c_str(), RTLD_NOW);
    if (!library) throw Error(ErrorCategory::kDevice, std::string("cuBLAS: ") + dlerror());
    resolve(library, "cublasCreate_v2", create);
    resolve(library, "cublasDestroy_v2", destroy);
    resolve(library, "cublasGemmEx_64", gemm);
  }

  static const Library& get() {
    static const Library library;
    return library;
  }
};

Cublas::Cublas() : library_(Library::get()) {
  cublasHandle_t handle = nullptr;
  check(library_.create(&handle), "cublasCreate");
  handle_ = handle;
}

Cublas::~Cublas() { library_.destroy(static_cast<cublasHandle_t>(handle_)); }

void Cublas::products(const float* q, int64_t queries, const float* x, int64_t rows, int64_t d,
                      float* products) const {
  // cuBLAS is column-major: products^T [rows, queries] = (x^T)^T q^T. PEDANTIC rules out TF32 and
  // emulation, whatever the environment says: the certificate counts fp32 roundings.
  const float one = 1, zero = 0;
  check(library_.gemm(static_cast<cublasHandle_t>(handle_), CUBLAS_OP_T, CUBLAS_OP_N, rows, queries,
                      d, &one, x, CUDA_R_32F, d, q, CUDA_R_32F, d, &zero, products, CUDA_R_32F,
                      rows, CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}

}  // namespace crinn::gpu
