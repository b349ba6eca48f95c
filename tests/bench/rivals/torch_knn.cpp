// SPDX-License-Identifier: Apache-2.0
// libtorch's matmul and topk. Built where there is the CUDA half of libtorch (torch::cuda).
#if CRINN_HAVE_TORCH_CUDA
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <tuple>
#endif

#include "crinn/base/error.h"
#include "knn_system.h"

namespace crinn::bench {

#if CRINN_HAVE_TORCH_CUDA
namespace {

constexpr int64_t kScores = int64_t{1} << 30;  // of a tile

template <class Body>
void translate(const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    const std::string message = error.what();  // its first line; the rest is a stack
    throw Error(ErrorCategory::kDevice, "torch: " + message.substr(0, message.find('\n')));
  }
}

class TorchKnn final : public KnnSystem {
 public:
  explicit TorchKnn(const KnnProblem& problem) : problem_(problem) {
    translate([&] {
      const auto wrap = [&](const float* data, int64_t rows) {
        return at::from_blob(const_cast<float*>(data), {rows, problem.d},
                             at::TensorOptions().device(at::kCUDA).dtype(at::kFloat));
      };
      queries_ = wrap(problem.queries, problem.nq);
      base_ = wrap(problem.base, problem.n);
      if (problem.metric == ann::Metric::kInnerProduct) return;
      const at::Tensor norms = at::linalg_vector_norm(base_, 2, {1});
      // The largest q x - |x|^2 / 2 is the nearest; under kCosine the largest q x / |x|.
      if (problem.metric == ann::Metric::kL2) bias_ = norms.square().mul(-0.5);
      if (problem.metric == ann::Metric::kCosine) base_ = base_.div(norms.unsqueeze(1));
    });
  }

  void search(std::span<int64_t> ids) override {
    translate([&] {
      const int64_t tile = std::clamp<int64_t>(kScores / problem_.n, 1, problem_.nq);
      for (int64_t q = 0; q < problem_.nq; q += tile) {
        const int64_t count = std::min(tile, problem_.nq - q);
        const at::Tensor rows = queries_.narrow(0, q, count);
        const at::Tensor scores =
            bias_.defined() ? at::addmm(bias_, rows, base_.t()) : at::mm(rows, base_.t());
        const at::Tensor nearest = std::get<1>(scores.topk(problem_.k, 1, true, true)).cpu();
        std::memcpy(ids.data() + q * problem_.k, nearest.const_data_ptr<int64_t>(),
                    static_cast<std::size_t>(count * problem_.k) * sizeof(int64_t));
      }
    });
  }

 private:
  KnnProblem problem_;
  at::Tensor queries_, base_, bias_;
};

}  // namespace

std::string torch_knn_missing() { return ""; }

std::unique_ptr<KnnSystem> make_torch_knn(const KnnProblem& problem) {
  return std::make_unique<TorchKnn>(problem);
}
#else
std::string torch_knn_missing() {
  return "configure where the CUDA half of libtorch is (torch::cuda)";
}

std::unique_ptr<KnnSystem> make_torch_knn(const KnnProblem&) {
  throw Error(ErrorCategory::kUsage, "make_torch_knn: " + torch_knn_missing());
}
#endif

}  // namespace crinn::bench
