// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/huge_array.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "memory_nodes.h"

namespace crinn {
namespace {

constexpr std::size_t kSeveralHugePages = std::size_t{6} << 20;

struct Policy {
  int mode = -1;
  std::array<unsigned long, 16> nodes{};  // bit by node
};

// Of the memory at `address`, or of this thread where there is none.
bool get_policy(const void* address, Policy& policy) {
  const unsigned long flags = address != nullptr ? MPOL_F_ADDR : 0;
  return syscall(SYS_get_mempolicy, &policy.mode, policy.nodes.data(),
                 policy.nodes.size() * 8 * sizeof(long) + 1, address, flags) == 0;
}

TEST(HugeArray, IsZeroedAlignedAndWritableToItsEnd) {
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{4097}, std::size_t{1} << 19, (std::size_t{3} << 20) + 1}) {
    HugeArray<int32_t> array(size);
    ASSERT_EQ(array.size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % 64, 0u);
    if (size * sizeof(int32_t) >= (std::size_t{2} << 20)) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % (std::size_t{2} << 20), 0u);
    }
    for (const int32_t value : array) ASSERT_EQ(value, 0);
    array[size - 1] = 7;
    EXPECT_EQ(array.end()[-1], 7);
  }
}

TEST(HugeArray, MovesItsMemory) {
  HugeArray<int> a(10);
  a[3] = 5;
  HugeArray<int> b(std::move(a));
  EXPECT_EQ(b[3], 5);
  HugeArray<int> c;
  c = std::move(b);
  EXPECT_EQ(c[3], 5);
  EXPECT_EQ(c.size(), 10u);
}

TEST(HugeArray, PrefersTheMemoryNodeOfTheThreadThatMakesItWhoeverFillsIt) {
  Policy own;
  if (!get_policy(nullptr, own)) {
    GTEST_SKIP() << "get_mempolicy is refused here: " << std::strerror(errno);
  }
  if (own.mode != MPOL_DEFAULT) GTEST_SKIP() << "this process runs under a memory policy";
  const std::map<int, int> cores = test::core_of_each_node();
  for (const auto& [node, core] : cores) {
    for (const auto& [other_node, other_core] : cores) {
      SCOPED_TRACE("made on node " + std::to_string(node) + ", filled on node " +
                   std::to_string(other_node));
      HugeArray<char> array, small;
      std::jthread([&array, &small, core = core] {
        pin_to_core(core);
        array = HugeArray<char>(kSeveralHugePages);
        small = HugeArray<char>(4096);
      }).join();
      std::jthread([&array, core = other_core] {
        pin_to_core(core);
        std::memset(array.data(), 1, array.size());
      }).join();

      Policy policy;
      ASSERT_TRUE(get_policy(array.end() - 1, policy));
      EXPECT_EQ(policy.mode, MPOL_PREFERRED);
      std::array<unsigned long, 16> expected{};
      expected[static_cast<std::size_t>(node / 64)] = 1ul << (node % 64);
      EXPECT_EQ(policy.nodes, expected);
      for (std::size_t at = 0; at < array.size(); at += 4096) {
        ASSERT_EQ(test::node_of(array.data() + at), node) << "byte " << at;
      }
      ASSERT_TRUE(get_policy(small.data(), policy));
      EXPECT_EQ(policy.mode, MPOL_DEFAULT);
    }
  }
}

TEST(HugeArray, FollowsAMemoryPolicyThatItsThreadHas) {
  const std::map<int, int> cores = test::core_of_each_node();
  for (const auto& [node, unused] : cores) {
    for (const auto& [other_node, core] : cores) {
      SCOPED_TRACE("bound to node " + std::to_string(node) + ", made on node " +
                   std::to_string(other_node));
      int refused = 0, lies_on = -1;
      Policy of_the_array;
      std::jthread([&refused, &lies_on, &of_the_array, core = core, node = node] {
        pin_to_core(core);
        std::array<unsigned long, 16> nodes{};
        nodes[static_cast<std::size_t>(node / 64)] = 1ul << (node % 64);
        if (syscall(SYS_set_mempolicy, static_cast<unsigned long>(MPOL_BIND), nodes.data(),
                    1025ul) != 0) {
          refused = errno;
          return;
        }
        HugeArray<char> array(kSeveralHugePages);
        array[0] = 1;
        lies_on = test::node_of(array.data());
        if (!get_policy(array.data(), of_the_array)) refused = errno;
      }).join();
      if (refused != 0) GTEST_SKIP() << "memory policies: " << std::strerror(refused);
      EXPECT_EQ(of_the_array.mode, MPOL_DEFAULT) << "it has one of its own";
      EXPECT_EQ(lies_on, node);
    }
  }
}

TEST(HugeArray, LeavesAThreadThatChoseLocalMemoryToTheFirstTouch) {
  int refused = 0;
  Policy of_the_array;
  std::jthread([&refused, &of_the_array] {
    const unsigned long local = MPOL_LOCAL;
    if (syscall(SYS_set_mempolicy, local, nullptr, 0ul) != 0) {
      refused = errno;
      return;
    }
    const HugeArray<char> array(kSeveralHugePages);
    if (!get_policy(array.data(), of_the_array)) refused = errno;
  }).join();
  if (refused != 0) GTEST_SKIP() << "memory policies: " << std::strerror(refused);
  EXPECT_EQ(of_the_array.mode, MPOL_DEFAULT) << "it has one of its own";
}

}  // namespace
}  // namespace crinn
