// SPDX-License-Identifier: Apache-2.0
// GLASS (github.com/zilliztech/pyglass): HNSW over SQ8U codes with R 32 and L 200, its prefetching
// tuned by its own Optimize(). Built where CRINN_GLASS_DIR names its source.
#if CRINN_HAVE_GLASS
#include <omp.h>

#include <algorithm>

#include "glass/hnsw/hnsw.hpp"
#include "glass/searcher/graph_searcher.hpp"
#endif

#include "crinn/base/error.h"
#include "system.h"

namespace crinn::bench {

#if CRINN_HAVE_GLASS
namespace {

class Glass final : public System {
 public:
  Glass(const Problem& problem, const char* quantizer, const char* refiner) {
    const char* metric = problem.metric == ann::Metric::kL2 ? "L2" : "IP";
    const auto n = static_cast<int32_t>(problem.base.rows);
    const auto d = static_cast<int32_t>(problem.base.cols);
    omp_set_num_threads(problem.threads);
    glass::Graph<int32_t> graph =
        glass::create_hnsw(metric, "SQ8U", 32, 200)->Build(problem.base.row(0), n, d);
    searcher_ = glass::create_searcher(std::move(graph), metric, quantizer, refiner);
    searcher_->SetData(problem.base.row(0), n, d);
    omp_set_num_threads(1);
    searcher_->Optimize(1);
  }

  void search(const float* query, int effort, int32_t* ids) override {
    searcher_->SetEf(effort);
    std::fill_n(ids, kNeighbors, -1);
    searcher_->Search(query, kNeighbors, ids);
  }

 private:
  std::unique_ptr<glass::GraphSearcherBase> searcher_;
};

}  // namespace

std::unique_ptr<System> make_glass(const Problem& problem, const char* quantizer,
                                   const char* refiner) {
  return std::make_unique<Glass>(problem, quantizer, refiner);
}
#else
std::unique_ptr<System> make_glass(const Problem&, const char*, const char*) {
  throw Error(ErrorCategory::kUsage, "glass: configure with -DCRINN_GLASS_DIR=<its source>");
}
#endif

}  // namespace crinn::bench
