// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace crinn::gpu {

/// Memory of the host in place of a device's, for tests. What was never written is NaN, or no id.
template <class T>
class HostArray {
 public:
  HostArray() = default;
  explicit HostArray(int64_t size) : values_(static_cast<std::size_t>(size)) {
    if (size > 0) std::memset(static_cast<void*>(values_.data()), 0xFF, values_.size() * sizeof(T));
  }
  T* get() const { return const_cast<T*>(values_.data()); }  // as a device's pointer is
  void upload(int64_t first, const T* source, int64_t count) {
    std::copy_n(source, count, values_.begin() + first);
  }
  void download(T* target, int64_t first, int64_t count) const {
    std::copy_n(values_.begin() + first, count, target);
  }

 private:
  std::vector<T> values_;
};

}  // namespace crinn::gpu
