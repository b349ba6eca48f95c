// SPDX-License-Identifier: Apache-2.0
#include "fused.h"

#include "check.h"
#include "device_block.h"
#include "device_memory.h"
#include "fused_sm90.h"

namespace crinn::gpu {
namespace {

constexpr int kSharedBytes = tile::kStages * tile::kStageBytes;

/// fp16 in, fp32 sums; bytes in, int32 sums.
struct Half {
  using Sum = float;
  static constexpr bool kIsHalf = true;
};
struct Byte {
  using Sum = int32_t;
  static constexpr bool kIsHalf = false;
};

/// Shared memory as cp.async and ldmatrix address it.
struct SharedMemory {
  uint32_t address;
  CRINN_HOST_DEVICE void copy16(int offset, const uint8_t* source, bool inside) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const int bytes = inside ? 16 : 0;  // the rest of the 16 becomes zero
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     address + static_cast<uint32_t>(offset)),
                 "l"(source), "r"(bytes)
                 : "memory");
#endif
  }
};

/// One lane, with the instructions of its warp.
template <class Element>
struct DeviceLanes {
  using Fragment = uint32_t[4];
  using Sum = typename Element::Sum[4];
  uint32_t address;
  int lane;

  template <class OffsetOf>
  CRINN_HOST_DEVICE void load(Fragment& out, const OffsetOf& offset_of) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address + static_cast<uint32_t>(offset_of(lane)))
                 : "memory");
#endif
  }

  CRINN_HOST_DEVICE void multiply(Sum& c, const Fragment& a, const Fragment& b, int half) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if constexpr (Element::kIsHalf) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[2 * half]), "r"(b[2 * half + 1]));
    } else {
      asm volatile(
          "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[2 * half]), "r"(b[2 * half + 1]));
    }
#endif
  }

  template <class Visit>
  CRINN_HOST_DEVICE void each_lane(const Visit& visit) const {
    visit(lane);
  }
  CRINN_HOST_DEVICE static float value(const Sum& sum, int, int reg) {
    return static_cast<float>(sum[reg]);
  }
};

/// One block: a tile of queries against a strip of tiles of rows. The slices of all its tiles form
/// one sequence; while one is multiplied, the next is on its way. Neighbouring blocks share rows,
/// so that a strip comes from memory once and from L2 after that.
template <class Element>
__global__ void __launch_bounds__(tile::kThreads, 2)
    fused_kernel(FusedPass pass, int64_t strip_tiles) {
#if __CUDA_ARCH__ >= 800
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ QueryTerms terms;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int64_t first_query = static_cast<int64_t>(blockIdx.x) * tile::kQueries;
  const int64_t first_tile = blockIdx.y * strip_tiles;
  const int tiles = static_cast<int>(min(strip_tiles, pass.row_tiles() - first_tile));
  const int slices = pass.slices(), all = tiles * slices;
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const SharedMemory memory{address};
  const DeviceLanes<Element> lanes{address, thread % 32};
  DeviceBlock block{thread, tile::kThreads};

  int64_t next_row = first_tile * tile::kRows;
  int next_slice = 0;
  const auto fetch = [&](int at) {
    if (at < all) {
      const int base = at % tile::kStages * tile::kStageBytes;
      tile::copy_slice(memory, thread, pass.queries, first_query, next_slice, base);
      tile::copy_slice(memory, thread, pass.rows, next_row, next_slice,
                       base + tile::kQueries * tile::kSliceBytes);
      if (++next_slice == slices) next_slice = 0, next_row += tile::kRows;
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  fetch(0);
  load_query_terms(pass, thread, first_query, terms);
  typename DeviceLanes<Element>::Sum sums[tile::kQueryFragments][tile::kRowFragments] = {};
  int at = 0;
  for (int t = 0; t < tiles; ++t) {
    for (int slice = 0; slice < slices; ++slice, ++at) {
      fetch(at + 1);
      asm volatile("cp.async.wait_group 1;" ::: "memory");
      __syncthreads();  // the slice that all threads fetched is there
      tile::multiply_slice(lanes, warp, at % tile::kStages * tile::kStageBytes,
                           tile::steps_of(pass.rows.row_bytes, slice), sums);
      __syncthreads();  // its stage may be overwritten
    }
    append_survivors(pass, block, lanes, warp, terms, first_query, (first_tile + t) * tile::kRows,
                     sums);
    for (auto& of_query : sums) {
      for (auto& sum : of_query) {
        for (auto& value : sum) value = 0;
      }
    }
  }
#else
  __trap();  // built for a device without these instructions
#endif
}

/// One block: a tile's products as they are. [128, 128]
template <class Element>
__global__ void __launch_bounds__(tile::kThreads, 2)
    products_kernel(tile::Operand queries, tile::Operand rows, float* products) {
#if __CUDA_ARCH__ >= 800
  extern __shared__ __align__(128) uint8_t shared[];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const SharedMemory memory{address};
  const DeviceLanes<Element> lanes{address, thread % 32};
  typename DeviceLanes<Element>::Sum sums[tile::kQueryFragments][tile::kRowFragments] = {};
  for (int slice = 0; slice * tile::kSliceBytes < rows.row_bytes; ++slice) {
    tile::copy_slice(memory, thread, queries, 0, slice, 0);
    tile::copy_slice(memory, thread, rows, 0, slice, tile::kQueries * tile::kSliceBytes);
    asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    tile::multiply_slice(lanes, warp, 0, tile::steps_of(rows.row_bytes, slice), sums);
    __syncthreads();
  }
  tile::for_each_product(
      lanes, warp, sums, [](int row) { return row; },
      [&](int query, int, int row, float product) {
        products[query * tile::kRows + row] = product;
      });
#else
  __trap();
#endif
}

template <class Element>
void multiply(tile::Operand queries, tile::Operand rows, float* products) {
  CRINN_CHECK_CUDA(cudaFuncSetAttribute(
      products_kernel<Element>, cudaFuncAttributeMaxDynamicSharedMemorySize, tile::kStageBytes));
  products_kernel<Element><<<1, tile::kThreads, tile::kStageBytes>>>(queries, rows, products);
  CRINN_CHECK_CUDA(cudaGetLastError());
}

template <class Element>
void launch(const FusedPass& pass) {
  CRINN_CHECK_CUDA(cudaFuncSetAttribute(fused_kernel<Element>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
  int device = 0, multiprocessors = 0;
  CRINN_CHECK_CUDA(cudaGetDevice(&device));
  CRINN_CHECK_CUDA(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  const int64_t strip = tiles_per_strip(pass.row_tiles(), pass.query_tiles(), multiprocessors);
  const dim3 grid(static_cast<unsigned>(pass.query_tiles()),
                  static_cast<unsigned>((pass.row_tiles() + strip - 1) / strip));
  fused_kernel<Element><<<grid, tile::kThreads, kSharedBytes>>>(pass, strip);
  CRINN_CHECK_CUDA(cudaGetLastError());
}

/// wgmma exists on sm_90 alone, not on what came after it.
bool takes_sm90() {
  if (!fused_sm90_built()) return false;
  int device = 0, major = 0, minor = 0;
  CRINN_CHECK_CUDA(cudaGetDevice(&device));
  CRINN_CHECK_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  CRINN_CHECK_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major == 9 && minor == 0;
}

}  // namespace

void launch_fused(const FusedPass& pass, bool integers) {
  if (takes_sm90()) {
    launch_fused_sm90(pass, integers);
  } else if (integers) {
    launch<Byte>(pass);
  } else {
    launch<Half>(pass);
  }
}

std::vector<float> tile_products(std::span<const uint8_t> queries, std::span<const uint8_t> rows,
                                 int64_t row_bytes, bool integers) {
  if (takes_sm90()) return products_sm90(queries, rows, row_bytes, integers);
  const auto size = static_cast<int64_t>(queries.size());
  DeviceArray<uint8_t> a(size), b(size);
  DeviceArray<float> products(tile::kQueries * tile::kRows);
  a.upload(0, queries.data(), size);
  b.upload(0, rows.data(), size);
  const tile::Operand left{a.get(), tile::kQueries, row_bytes};
  const tile::Operand right{b.get(), tile::kRows, row_bytes};
  if (integers) {
    multiply<Byte>(left, right, products.get());
  } else {
    multiply<Half>(left, right, products.get());
  }
  std::vector<float> result(tile::kQueries * tile::kRows);
  products.download(result.data(), 0, static_cast<int64_t>(result.size()));
  return result;
}

}  // namespace crinn::gpu
