// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/huge_array.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <new>

namespace crinn::detail {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMaxNodes = 1024, kNodesPerWord = 8 * sizeof(unsigned long);

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

void* map_anonymous(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return data;
}

// Without this, pages lie where the threads run that happen to fill them. A policy that the caller
// chose (numactl, set_mempolicy) stays; a sandbox that refuses costs speed only.
void prefer_node_of_this_thread(void* data, std::size_t bytes) {
  int policy = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &policy, nullptr, 0ul, nullptr, 0ul) != 0) return;
  if (policy != MPOL_DEFAULT) return;
  unsigned core = 0, node = 0;
  if (syscall(SYS_getcpu, &core, &node, nullptr) != 0 || node >= kMaxNodes) return;
  std::array<unsigned long, kMaxNodes / kNodesPerWord> nodes{};
  nodes[node / kNodesPerWord] = 1ul << (node % kNodesPerWord);
  // The kernel reads one bit less than it is told.
  const unsigned long mode = MPOL_PREFERRED, flags = 0;
  syscall(SYS_mbind, data, bytes, mode, nodes.data(), kMaxNodes + 1, flags);
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
  prefer_node_of_this_thread(raw + head, size);
  return raw + head;
}

void unmap_huge(void* data, std::size_t bytes) noexcept {
  munmap(data, bytes < kHugePage ? bytes : round_up(bytes, kHugePage));
}

}  // namespace crinn::detail
