// SPDX-License-Identifier: Apache-2.0
// hnswlib with M 16 and efConstruction 200. Debian's libhnswlib-dev.
#if CRINN_HAVE_HNSWLIB
#include <hnswlib/hnswlib.h>

#include <algorithm>
#endif

#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "system.h"

namespace crinn::bench {

#if CRINN_HAVE_HNSWLIB
namespace {

class Hnswlib final : public System {
 public:
  explicit Hnswlib(const Problem& problem) {
    const auto d = static_cast<size_t>(problem.base.cols);
    if (problem.metric == ann::Metric::kL2) {
      space_ = std::make_unique<hnswlib::L2Space>(d);
    } else {
      space_ = std::make_unique<hnswlib::InnerProductSpace>(d);
    }
    graph_ = std::make_unique<hnswlib::HierarchicalNSW<float>>(
        space_.get(), static_cast<size_t>(problem.base.rows), 16, 200);
    graph_->addPoint(problem.base.row(0), 0);
    parallel_for(problem.threads, problem.base.rows - 1, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin + 1; i <= end; ++i) {
        graph_->addPoint(problem.base.row(i), static_cast<size_t>(i));
      }
    });
  }

  void search(const float* query, int effort, int32_t* ids) override {
    graph_->setEf(static_cast<size_t>(effort));
    auto found = graph_->searchKnn(query, kNeighbors);
    std::fill_n(ids, kNeighbors, -1);
    for (auto at = found.size(); at-- > 0; found.pop()) {
      ids[at] = static_cast<int32_t>(found.top().second);
    }
  }

 private:
  std::unique_ptr<hnswlib::SpaceInterface<float>> space_;
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph_;
};

}  // namespace

std::unique_ptr<System> make_hnswlib(const Problem& problem) {
  return std::make_unique<Hnswlib>(problem);
}
#else
std::unique_ptr<System> make_hnswlib(const Problem&) {
  throw Error(ErrorCategory::kUsage, "hnswlib: this build has none; install libhnswlib-dev");
}
#endif

}  // namespace crinn::bench
