// SPDX-License-Identifier: Apache-2.0
// cuVS's brute force through its C interface. Built where CRINN_CUVS_DIR names a folder with its
// unpacked wheels.
#if CRINN_HAVE_CUVS
#include <cuvs/core/c_api.h>
#include <cuvs/neighbors/brute_force.h>

#include <array>
#include <string>

#include "device_memory.h"
#endif

#include "crinn/base/error.h"
#include "knn_system.h"

namespace crinn::bench {

#if CRINN_HAVE_CUVS
namespace {

void check(cuvsError_t status, const char* call) {
  if (status == CUVS_SUCCESS) return;
  const char* text = cuvsGetLastErrorText();
  throw Error(ErrorCategory::kDevice, std::string(call) + ": " + (text ? text : "unknown"));
}

/// A row-major matrix in device memory, as DLPack describes it.
struct DlMatrix {
  std::array<int64_t, 2> shape;
  DLManagedTensor tensor{};
  DlMatrix(const void* data, int64_t rows, int64_t cols, DLDataTypeCode code, uint8_t bits)
      : shape{rows, cols} {
    DLTensor& of = tensor.dl_tensor;
    of.data = const_cast<void*>(data);
    of.device = {kDLCUDA, 0};
    of.ndim = 2;
    of.dtype = {static_cast<uint8_t>(code), bits, 1};
    of.shape = shape.data();
  }
  DlMatrix(const DlMatrix&) = delete;
  DlMatrix& operator=(const DlMatrix&) = delete;
};

cuvsDistanceType distance_of(ann::Metric metric) {
  switch (metric) {
    case ann::Metric::kL2: return L2Expanded;
    case ann::Metric::kInnerProduct: return InnerProduct;
    case ann::Metric::kCosine: return CosineExpanded;
  }
  return L2Expanded;
}

struct Resources {
  cuvsResources_t handle = 0;
  Resources() { check(cuvsResourcesCreate(&handle), "cuvsResourcesCreate"); }
  ~Resources() { cuvsResourcesDestroy(handle); }
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;
  void wait() const { check(cuvsStreamSync(handle), "cuvsStreamSync"); }
};

struct Index {
  cuvsBruteForceIndex_t handle = nullptr;
  Index() { check(cuvsBruteForceIndexCreate(&handle), "cuvsBruteForceIndexCreate"); }
  ~Index() { cuvsBruteForceIndexDestroy(handle); }
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;
};

class CuvsKnn final : public KnnSystem {
 public:
  explicit CuvsKnn(const KnnProblem& problem)
      : problem_(problem), ids_(problem.nq * problem.k), distances_(problem.nq * problem.k) {
    DlMatrix base(problem.base, problem.n, problem.d, kDLFloat, 32);
    check(cuvsBruteForceBuild(resources_.handle, &base.tensor, distance_of(problem.metric), 0,
                              index_.handle),
          "cuvsBruteForceBuild");
    resources_.wait();
  }

  void search(std::span<int64_t> ids) override {
    DlMatrix queries(problem_.queries, problem_.nq, problem_.d, kDLFloat, 32);
    DlMatrix nearest(ids_.get(), problem_.nq, problem_.k, kDLInt, 64);
    DlMatrix distances(distances_.get(), problem_.nq, problem_.k, kDLFloat, 32);
    check(cuvsBruteForceSearch(resources_.handle, index_.handle, &queries.tensor, &nearest.tensor,
                               &distances.tensor, cuvsFilter{0, NO_FILTER}),
          "cuvsBruteForceSearch");
    resources_.wait();
    ids_.download(ids.data(), 0, static_cast<int64_t>(ids.size()));
  }

 private:
  KnnProblem problem_;
  gpu::DeviceArray<int64_t> ids_;
  gpu::DeviceArray<float> distances_;
  Resources resources_;
  Index index_;  // goes before them
};

}  // namespace

std::string cuvs_knn_missing() { return ""; }

std::unique_ptr<KnnSystem> make_cuvs_knn(const KnnProblem& problem) {
  return std::make_unique<CuvsKnn>(problem);
}
#else
std::string cuvs_knn_missing() { return "configure with -DCRINN_CUVS_DIR=<its wheels, unpacked>"; }

std::unique_ptr<KnnSystem> make_cuvs_knn(const KnnProblem&) {
  throw Error(ErrorCategory::kUsage, "make_cuvs_knn: " + cuvs_knn_missing());
}
#endif

}  // namespace crinn::bench
