// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/huge_array.h"

#include <sys/mman.h>

#include <new>

namespace crinn::detail {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

void* map_anonymous(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return data;
}

}  // namespace

void* map_huge(std::size_t bytes) {
  if (bytes < kHugePage) return map_anonymous(bytes);
  // Over-allocate by one huge page, then give the unaligned ends back.
  const std::size_t size = round_up(bytes, kHugePage);
  auto* raw = static_cast<char*>(map_anonymous(size + kHugePage));
  const auto address = reinterpret_cast<std::uintptr_t>(raw);
  const std::size_t head = round_up(address, kHugePage) - address;
  if (head) munmap(raw, head);
  if (head < kHugePage) munmap(raw + head + size, kHugePage - head);
  madvise(raw + head, size, MADV_HUGEPAGE);  // advice: a refusal costs speed only
  return raw + head;
}

void unmap_huge(void* data, std::size_t bytes) noexcept {
  munmap(data, bytes < kHugePage ? bytes : round_up(bytes, kHugePage));
}

}  // namespace crinn::detail
