// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

namespace crinn {

namespace detail {
/// Zeroed anonymous memory; when it has 2 MiB or more, aligned to them, advised to use huge pages,
/// and preferably on the memory node (NUMA) of the calling thread. Throws std::bad_alloc.
void* map_huge(std::size_t bytes);
void unmap_huge(void* data, std::size_t bytes) noexcept;
}  // namespace detail

/// An owned, zero-initialised, move-only array in huge pages where the system grants them.
/// Aligned to 64 bytes at least. From 2 MiB on it prefers the memory node of the thread that makes
/// it, whichever threads fill it, and the kernel's NUMA balancing leaves it there. A memory policy
/// that the thread has (numactl) goes first.
template <class T>
class HugeArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HugeArray() = default;
  explicit HugeArray(std::size_t size)
      : data_(size ? static_cast<T*>(detail::map_huge(size * sizeof(T))) : nullptr), size_(size) {}
  HugeArray(HugeArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  HugeArray& operator=(HugeArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~HugeArray() {
    if (data_) detail::unmap_huge(data_, size_ * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  operator std::span<const T>() const { return {data_, size_}; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace crinn
