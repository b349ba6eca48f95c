// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "crinn/base/error.h"

namespace crinn::gpu {

/// How a rank ended.
struct RankEnd {
  int exit_code = 0;    ///< 0: it threw nothing
  std::string message;  ///< of what it threw
};

/// Calls body(rank) for each rank in a thread of its own.
inline std::vector<RankEnd> run_ranks(int ranks, const std::function<void(int rank)>& body) {
  std::vector<RankEnd> ends(static_cast<std::size_t>(ranks));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(rank);
      } catch (const Error& error) {
        ends[static_cast<std::size_t>(rank)] = {error.exit_code(), error.what()};
      }
    });
  }
  threads.clear();  // joins
  return ends;
}

inline bool mentions(const RankEnd& end, const std::string& text) {
  return end.message.find(text) != std::string::npos;
}

}  // namespace crinn::gpu
