// SPDX-License-Identifier: Apache-2.0
// SymphonyQG (github.com/gouyt13/SymphonyQG): R 32, EF 200, three iterations; squared Euclidean
// distances only. Built where CRINN_SYMPHONYQG_DIR names its source.
#if CRINN_HAVE_SYMPHONYQG
#include <algorithm>

#include "qg/qg.hpp"
#include "qg/qg_builder.hpp"
#endif

#include "crinn/base/error.h"
#include "system.h"

namespace crinn::bench {

#if CRINN_HAVE_SYMPHONYQG
namespace {

class SymphonyQg final : public System {
 public:
  explicit SymphonyQg(const Problem& problem)
      : graph_(static_cast<size_t>(problem.base.rows), 32, static_cast<size_t>(problem.base.cols)) {
    symqg::QGBuilder(graph_, 200, problem.base.row(0), static_cast<size_t>(problem.threads))
        .build(3);
  }

  void search(const float* query, int effort, int32_t* ids) override {
    if (effort != effort_) graph_.set_ef(static_cast<size_t>(effort_ = effort));
    std::fill_n(ids, kNeighbors, -1);
    graph_.search(query, kNeighbors, reinterpret_cast<uint32_t*>(ids));
  }

 private:
  symqg::QuantizedGraph graph_;
  int effort_ = 0;
};

}  // namespace

std::unique_ptr<System> make_symphonyqg(const Problem& problem) {
  if (problem.metric == ann::Metric::kInnerProduct) {
    throw Error(ErrorCategory::kUsage, "symphonyqg: knows squared Euclidean distances only");
  }
  return std::make_unique<SymphonyQg>(problem);  // of unit vectors: the angular order
}
#else
std::unique_ptr<System> make_symphonyqg(const Problem&) {
  throw Error(ErrorCategory::kUsage,
              "symphonyqg: configure with -DCRINN_SYMPHONYQG_DIR=<its source>");
}
#endif

}  // namespace crinn::bench
