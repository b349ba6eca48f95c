// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "crinn/ann/metric.h"
#include "crinn/base/matrix_view.h"

namespace crinn::bench {

inline constexpr int kNeighbors = 10;

/// What a system is built on. Under the angular metric the rows are unit vectors. The vectors
/// outlive the system.
struct Problem {
  MatrixView<const float> base;
  ann::Metric metric = ann::Metric::kL2;
  int threads = 1;
};

/// An index under test. It is built by the function that makes it.
class System {
 public:
  virtual ~System() = default;
  /// ids [kNeighbors], nearest first; -1 where there are fewer. `effort` is the system's own knob.
  virtual void search(const float* query, int effort, int32_t* ids) = 0;
};

// Systems of others at the settings that their authors recommend. Each throws Error (usage) where
// this build does not have it, or where it cannot serve the problem.
std::unique_ptr<System> make_hnswlib(const Problem& problem);
/// `quantizer`: "SQ4U", "SQ8U"; `refiner`: "FP16", or "" for none.
std::unique_ptr<System> make_glass(const Problem& problem, const char* quantizer,
                                   const char* refiner);
std::unique_ptr<System> make_symphonyqg(const Problem& problem);

}  // namespace crinn::bench
