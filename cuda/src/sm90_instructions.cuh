// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "warpgroup_tile.h"

/// wgmma and the barriers of shared memory, as the PTX ISA writes them.
namespace crinn::gpu::warpgroup {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CRINN_SM90(...) asm volatile(__VA_ARGS__)
#else
#define CRINN_SM90(...) static_cast<void>(0)  // the host's pass over this file
#endif

// The 128 accumulator registers of a thread, as operands of asm.
#define CRINN_SUMS8(access, i)                                                    \
  access(sums[i]), access(sums[i + 1]), access(sums[i + 2]), access(sums[i + 3]), \
      access(sums[i + 4]), access(sums[i + 5]), access(sums[i + 6]), access(sums[i + 7])
#define CRINN_SUMS32(access, i)                                                    \
  CRINN_SUMS8(access, i), CRINN_SUMS8(access, i + 8), CRINN_SUMS8(access, i + 16), \
      CRINN_SUMS8(access, i + 24)
#define CRINN_SUMS(access)                                                     \
  CRINN_SUMS32(access, 0), CRINN_SUMS32(access, 32), CRINN_SUMS32(access, 64), \
      CRINN_SUMS32(access, 96)
#define CRINN_SUM_NAMES                                                                   \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,"   \
  "%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,"  \
  "%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,"  \
  "%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,"  \
  "%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,"     \
  "%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121," \
  "%122,%123,%124,%125,%126,%127}"

// D = A B, or D = A B + D where `add` is 1. `rest`: of halves, that neither is negated nor
// transposed.
#define CRINN_WGMMA(shape, rest, access, add)                                                    \
  CRINN_SM90(                                                                                    \
      "{\n.reg .pred adds;\nsetp.ne.b32 adds, %130, 0;\n"                                        \
      "wgmma.mma_async.sync.aligned." shape " " CRINN_SUM_NAMES ", %128, %129, adds" rest ";\n}" \
      : CRINN_SUMS(access)                                                                       \
      : "l"(queries), "l"(rows), "n"(add))

/// fp16 in, fp32 sums.
struct Half {
  using Sums = float[kSums];
  CRINN_HOST_DEVICE static void start(Sums& sums, uint64_t queries, uint64_t rows) {
    CRINN_WGMMA("m64n256k16.f32.f16.f16", ", 1, 1, 0, 0", "=f", 0);
  }
  CRINN_HOST_DEVICE static void multiply(Sums& sums, uint64_t queries, uint64_t rows) {
    CRINN_WGMMA("m64n256k16.f32.f16.f16", ", 1, 1, 0, 0", "+f", 1);
  }
  CRINN_HOST_DEVICE static void wait_all(Sums& sums) {
    CRINN_SM90("wgmma.wait_group.sync.aligned 0;" : CRINN_SUMS("+f")::"memory");
  }
};

/// Signed bytes in, int32 sums.
struct Byte {
  using Sums = int32_t[kSums];
  CRINN_HOST_DEVICE static void start(Sums& sums, uint64_t queries, uint64_t rows) {
    CRINN_WGMMA("m64n256k32.s32.s8.s8", "", "=r", 0);
  }
  CRINN_HOST_DEVICE static void multiply(Sums& sums, uint64_t queries, uint64_t rows) {
    CRINN_WGMMA("m64n256k32.s32.s8.s8", "", "+r", 1);
  }
  CRINN_HOST_DEVICE static void wait_all(Sums& sums) {
    CRINN_SM90("wgmma.wait_group.sync.aligned 0;" : CRINN_SUMS("+r")::"memory");
  }
};

/// Barriers in shared memory from `address` on.
struct Barriers {
  uint32_t address;

  CRINN_HOST_DEVICE uint32_t at(int barrier) const {
    return address + static_cast<uint32_t>(barrier) * 8;
  }
  CRINN_HOST_DEVICE void open() const {
    for (int i = 0; i < kBarriers; ++i) {
      CRINN_SM90("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at(i)), "r"(arrivals(i))
                 : "memory");
    }
    // TMA, which is another proxy, completes them too.
    CRINN_SM90("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory");
  }
  CRINN_HOST_DEVICE void wait(int barrier, int parity) const {
    uint32_t done = 0;
    while (!done) {
      CRINN_SM90(
          "{\n.reg .pred done;\n"
          "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
          "selp.u32 %0, 1, 0, done;\n}"
          : "=r"(done)
          : "r"(at(barrier)), "r"(parity)
          : "memory");
    }
  }
  CRINN_HOST_DEVICE void arrive(int barrier) const {
    CRINN_SM90("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at(barrier)) : "memory");
  }
  CRINN_HOST_DEVICE void expect(int barrier, int bytes) const {
    CRINN_SM90("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at(barrier)),
               "r"(bytes)
               : "memory");
  }
};

}  // namespace crinn::gpu::warpgroup
