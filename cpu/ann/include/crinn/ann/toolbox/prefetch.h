// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace crinn::ann {

inline constexpr int kCacheLine = 64;

/// The first `lines` cache lines of a record, for reading, into all levels.
inline void prefetch_lines(const void* record, int lines) {
  const auto* bytes = static_cast<const char*>(record);
  for (int line = 0; line < lines; ++line) __builtin_prefetch(bytes + line * kCacheLine, 0, 3);
}

/// All cache lines of a record of this many bytes, but `limit` lines at most: the hardware
/// prefetcher follows a run once its first lines are on their way.
inline void prefetch_record(const void* record, int64_t bytes, int limit = 64) {
  const int64_t lines = (bytes + kCacheLine - 1) / kCacheLine;
  prefetch_lines(record, lines < limit ? static_cast<int>(lines) : limit);
}

}  // namespace crinn::ann
