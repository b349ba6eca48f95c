// SPDX-License-Identifier: Apache-2.0
// Built for sm_90a alone: wgmma is in no other instruction set.
#include "fused_sm90.h"

#include <cudaTypedefs.h>

#include <string>

#include "check.h"
#include "crinn/base/error.h"
#include "device_memory.h"
#include "sm90_instructions.cuh"

namespace crinn::gpu {
namespace {

using namespace warpgroup;  // NOLINT: all of this file is about its tile

constexpr int kAlignment = 1024;  // of the swizzle's pattern
constexpr int kSharedBytes = kTileBytes + static_cast<int>(sizeof(SharedState)) + kAlignment;
static_assert(kSharedBytes <= 227 * 1024, "what a block may have on sm_90");

/// The loading thread. `shared` is where the slices begin.
struct TensorLoader : Barriers {
  uint32_t shared;
  const CUtensorMap* queries;
  const CUtensorMap* rows;

  CRINN_HOST_DEVICE void copy(const CUtensorMap* map, int offset, int slice, int64_t first,
                              int barrier) const {
    CRINN_SM90(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared + static_cast<uint32_t>(offset)),
        "l"(map), "r"(slice * kSliceBytes), "r"(static_cast<int>(first)), "r"(at(barrier))
        : "memory");
  }
  CRINN_HOST_DEVICE void copy_queries(int offset, int slice, int64_t first, int barrier) const {
    copy(queries, offset, slice, first, barrier);
  }
  CRINN_HOST_DEVICE void copy_rows(int offset, int slice, int64_t first, int barrier) const {
    copy(rows, offset, slice, first, barrier);
  }
};

/// What a thread has of a value of each lane or thread: its own.
template <class T>
struct OfThread {
  T value;
  CRINN_HOST_DEVICE T& at(int) { return value; }
};

/// One lane of the warp that loads terms.
struct BoundsWarp : Barriers {
  template <class T>
  using Each = OfThread<T>;
  int lane;

  template <class Visit>
  CRINN_HOST_DEVICE void each_lane(const Visit& visit) const {
    visit(lane);
  }
  CRINN_HOST_DEVICE static float largest(const Each<float>& of_lane) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    // Values that are not negative have the order of their bits.
    return __uint_as_float(__reduce_max_sync(~0u, __float_as_uint(of_lane.value)));
#else
    return of_lane.value;
#endif
  }
};

/// One thread of a warpgroup that multiplies.
template <class Element>
struct DeviceGroup : Barriers {
  using Sums = typename Element::Sums;
  template <class T>
  using Each = OfThread<T>;
  uint32_t shared;
  int group, thread;  // the thread's number in its warpgroup
  Queue* queues;      // the warpgroup's

  CRINN_HOST_DEVICE int index() const { return group; }
  CRINN_HOST_DEVICE uint32_t address(int offset) const {
    return shared + static_cast<uint32_t>(offset);
  }
  CRINN_HOST_DEVICE void arrive(int barrier) const {
    if (thread % 32 == 0) Barriers::arrive(barrier);
  }

  CRINN_HOST_DEVICE static void fence() { CRINN_SM90("wgmma.fence.sync.aligned;" ::: "memory"); }
  CRINN_HOST_DEVICE static void start(Sums& sums, uint64_t queries, uint64_t rows) {
    Element::start(sums, queries, rows);
  }
  CRINN_HOST_DEVICE static void multiply(Sums& sums, uint64_t queries, uint64_t rows) {
    Element::multiply(sums, queries, rows);
  }
  CRINN_HOST_DEVICE static void commit() {
    CRINN_SM90("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  CRINN_HOST_DEVICE static void wait_but_one() {
    CRINN_SM90("wgmma.wait_group.sync.aligned 1;" ::: "memory");
  }
  CRINN_HOST_DEVICE static void wait_all(Sums& sums) { Element::wait_all(sums); }

  /// Barriers 1 and 2 of the hardware: a warpgroup waits at its own, the other one arrives there.
  CRINN_HOST_DEVICE void wait_turn() const {
    CRINN_SM90("barrier.cta.sync.aligned %0, %1;" ::"r"(1 + group), "n"(kGroups * kGroupThreads)
               : "memory");
  }
  CRINN_HOST_DEVICE void give_turn() const {
    CRINN_SM90("barrier.cta.arrive.aligned %0, %1;" ::"r"(kGroups - group),
               "n"(kGroups * kGroupThreads)
               : "memory");
  }

  template <class Visit>
  CRINN_HOST_DEVICE void each_thread(const Visit& visit) const {
    visit(thread);
  }
  CRINN_HOST_DEVICE static float value(const Sums& sums, int, int reg) {
    return static_cast<float>(sums[reg]);
  }
  CRINN_HOST_DEVICE Queue& queue(int) const { return queues[thread / 32]; }
  CRINN_HOST_DEVICE static int add(int* counter, int value) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    return atomicAdd(counter, value);
#else
    return *counter += value;  // never called: a device's thread exists on the device only
#endif
  }
  CRINN_HOST_DEVICE static void sync_warps() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    __syncwarp();
#endif
  }
  CRINN_HOST_DEVICE static bool any(const Each<bool>& of_thread) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    return __any_sync(~0u, of_thread.value);
#else
    return of_thread.value;
#endif
  }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
/// A block before its warps part: barriers are open, queues are empty.
struct Block {
  uint32_t address;
  SharedState& state;
  int warp, lane;  // the warp's number is the same register in all lanes

  __device__ explicit Block(uint8_t* shared)
      : address((static_cast<uint32_t>(__cvta_generic_to_shared(shared)) + kAlignment - 1) /
                kAlignment * kAlignment),
        state(*reinterpret_cast<SharedState*>(
            shared + (address - static_cast<uint32_t>(__cvta_generic_to_shared(shared))) +
            kTileBytes)),
        warp(__shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0)),
        lane(static_cast<int>(threadIdx.x) % 32) {
    if (threadIdx.x == 0) barriers().open();
    if (threadIdx.x < kGroups * kGroupWarps) state.queues[threadIdx.x].count = 0;
    __syncthreads();
  }
  __device__ Barriers barriers() const {
    return {static_cast<uint32_t>(__cvta_generic_to_shared(state.barriers))};
  }
  template <class Element>
  __device__ DeviceGroup<Element> group() const {
    const int group = warp / kGroupWarps;
    return {barriers(), address, group, static_cast<int>(threadIdx.x) % kGroupThreads,
            state.queues + group * kGroupWarps};
  }
};
#endif

/// One block: a tile of queries against a strip of tiles of rows.
template <class Element>
__global__ void __launch_bounds__(kThreads, 1)
    fused_sm90_kernel(const __grid_constant__ CUtensorMap queries,
                      const __grid_constant__ CUtensorMap rows, FusedPass pass,
                      int64_t strip_tiles) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t shared[];
  const Block block(shared);
  const Strip strip = strip_of(pass.rows, blockIdx.x, blockIdx.y, strip_tiles);
  if (block.warp < kLoadWarp) {
    const DeviceGroup<Element> group = block.group<Element>();
    multiply_and_append(pass, strip, block.state.bounds, group);
  } else if (block.warp == kBoundsWarp) {
    const BoundsWarp warp{block.barriers(), block.lane};
    load_bounds(pass, strip, block.state.bounds, warp);
  } else if (block.lane == 0) {
    const TensorLoader loader{block.barriers(), block.address, &queries, &rows};
    load_slices(SharedLayout(pass.rows.row_bytes), strip, loader);
  }
#else
  __trap();  // built for another device
#endif
}

/// One block: the products of a tile of queries and a strip of tiles of rows. [nq, n]
template <class Element>
__global__ void __launch_bounds__(kThreads, 1)
    products_sm90_kernel(const __grid_constant__ CUtensorMap queries,
                         const __grid_constant__ CUtensorMap rows, int64_t nq, Operand base,
                         int64_t strip_tiles, float* products) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) uint8_t shared[];
  const Block block(shared);
  const Strip strip = strip_of(base, blockIdx.x, blockIdx.y, strip_tiles);
  const SharedLayout layout(base.row_bytes);
  if (block.warp < kLoadWarp) {
    const DeviceGroup<Element> group = block.group<Element>();
    multiply_tiles(layout, base.row_bytes, strip.tiles, group,
                   [&](int tile, const typename Element::Sums& sums) {
                     each_product(group, strip, tile, nq, base.rows, sums,
                                  [&](int64_t q, int64_t i, float product) {
                                    products[q * base.rows + i] = product;
                                  });
                   });
  } else if (block.warp == kLoadWarp && block.lane == 0) {
    const TensorLoader loader{block.barriers(), block.address, &queries, &rows};
    load_slices(layout, strip, loader);
  }
#else
  __trap();
#endif
}

/// From the driver, so that nothing is linked to it.
PFN_cuTensorMapEncodeTiled_v12000 find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  CRINN_CHECK_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                    cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess || function == nullptr) {
    throw Error(ErrorCategory::kDevice, "cuTensorMapEncodeTiled: the driver has none");
  }
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

/// What TMA reads: boxes of 128 bytes of `box_rows` rows, swizzled, zeros outside of the operand.
CUtensorMap tensor_map(const Operand& operand, int box_rows) {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = find_encode();
  const auto row_bytes = static_cast<cuuint64_t>(operand.row_bytes);
  const cuuint64_t size[2] = {row_bytes, static_cast<cuuint64_t>(operand.rows)};
  const cuuint64_t stride[1] = {row_bytes};
  const cuuint32_t box[2] = {kSliceBytes, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t step[2] = {1, 1};
  CUtensorMap map;
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<uint8_t*>(operand.data), size,
             stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Error(ErrorCategory::kDevice, "cuTensorMapEncodeTiled: error " +
                                            std::to_string(static_cast<int>(status)) + " for " +
                                            std::to_string(operand.rows) + " rows of " +
                                            std::to_string(operand.row_bytes) + " bytes");
  }
  return map;
}

/// start(grid, tensor map of the queries, of the rows, tiles of a strip) for all of both.
template <class Kernel, class Start>
void launch(Kernel kernel, const Operand& queries, const Operand& rows, const Start& start) {
  if (queries.rows == 0 || rows.rows == 0) return;
  CRINN_CHECK_CUDA(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  int device = 0, multiprocessors = 0;
  CRINN_CHECK_CUDA(cudaGetDevice(&device));
  CRINN_CHECK_CUDA(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  const int64_t query_tiles = (queries.rows + kQueries - 1) / kQueries;
  const int64_t strip = best_strip(tiles_of(rows), query_tiles, multiprocessors);
  const dim3 grid(static_cast<unsigned>(query_tiles),
                  static_cast<unsigned>((tiles_of(rows) + strip - 1) / strip));
  start(grid, tensor_map(queries, kQueries), tensor_map(rows, kRows), strip);
  CRINN_CHECK_CUDA(cudaGetLastError());
}

template <class Element>
void launch_pass(const FusedPass& pass) {
  launch(fused_sm90_kernel<Element>, pass.queries, pass.rows,
         [&](dim3 grid, const CUtensorMap& queries, const CUtensorMap& rows, int64_t strip) {
           fused_sm90_kernel<Element><<<grid, kThreads, kSharedBytes>>>(queries, rows, pass, strip);
         });
}

template <class Element>
void launch_products(const Operand& queries, const Operand& rows, float* products) {
  launch(products_sm90_kernel<Element>, queries, rows,
         [&](dim3 grid, const CUtensorMap& of_queries, const CUtensorMap& of_rows, int64_t strip) {
           products_sm90_kernel<Element><<<grid, kThreads, kSharedBytes>>>(
               of_queries, of_rows, queries.rows, rows, strip, products);
         });
}

}  // namespace

bool fused_sm90_built() { return true; }

void launch_fused_sm90(const FusedPass& pass, bool integers) {
  if (integers) {
    launch_pass<Byte>(pass);
  } else {
    launch_pass<Half>(pass);
  }
}

std::vector<float> products_sm90(std::span<const uint8_t> queries, std::span<const uint8_t> rows,
                                 int64_t row_bytes, bool integers) {
  const auto query_bytes = static_cast<int64_t>(queries.size());
  const auto base_bytes = static_cast<int64_t>(rows.size());
  DeviceArray<uint8_t> a(query_bytes), b(base_bytes);
  a.upload(0, queries.data(), query_bytes);
  b.upload(0, rows.data(), base_bytes);
  const Operand left{a.get(), query_bytes / row_bytes, row_bytes};
  const Operand right{b.get(), base_bytes / row_bytes, row_bytes};
  DeviceArray<float> products(left.rows * right.rows);
  if (integers) {
    launch_products<Byte>(left, right, products.get());
  } else {
    launch_products<Half>(left, right, products.get());
  }
  std::vector<float> result(static_cast<std::size_t>(left.rows * right.rows));
  products.download(result.data(), 0, static_cast<int64_t>(result.size()));
  return result;
}

}  // namespace crinn::gpu
