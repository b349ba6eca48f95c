// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "crinn/ann/knn_half.h"

/// The 32 lanes of a warp on a CPU: ldmatrix and mma.sync as the PTX ISA describes them (its
/// sections "Matrix fragments for mma.m16n8k16" and "... mma.m16n8k32"), written without the index
/// functions of tile.h, which they test.
namespace crinn::gpu {

/// Sums of 16 products of halves and c as tensor cores make them, at their worst: in two groups of
/// eight, each aligned to its largest term and cut below 2^-23 of it, the sum cut likewise.
inline float tensor_core_sum(const float* products, float c) {
  for (int group = 0; group < 2; ++group) {
    const float* terms = products + 8 * group;
    float largest = std::fabs(c);
    for (int i = 0; i < 8; ++i) largest = std::max(largest, std::fabs(terms[i]));
    if (largest == 0) continue;
    // Units of 2^-23 of the largest term's power of two.
    const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
    auto sum = static_cast<int64_t>(c / unit);  // conversion cuts
    for (int i = 0; i < 8; ++i) sum += static_cast<int64_t>(terms[i] / unit);
    int64_t magnitude = sum < 0 ? -sum : sum;
    int cut = 0;
    while (magnitude >> cut >= 1 << 24) ++cut;
    magnitude = magnitude >> cut << cut;
    c = static_cast<float>(static_cast<double>(sum < 0 ? -magnitude : magnitude) * unit);
  }
  return c;
}

/// fp16 in, fp32 sums.
struct HalfElement {
  using Sum = float;
  static Sum add_step(const uint8_t* a, const uint8_t* b, Sum c) {
    float products[16];
    for (int k = 0; k < 16; ++k) {
      uint16_t left, right;
      std::memcpy(&left, a + 2 * k, 2);
      std::memcpy(&right, b + 2 * k, 2);
      products[k] = ann::half_value(left) * ann::half_value(right);
    }
    return tensor_core_sum(products, c);
  }
};

/// Signed bytes in, int32 sums.
struct ByteElement {
  using Sum = int32_t;
  static Sum add_step(const uint8_t* a, const uint8_t* b, Sum c) {
    for (int k = 0; k < 32; ++k) {
      c += int32_t{static_cast<int8_t>(a[k])} * static_cast<int8_t>(b[k]);
    }
    return c;
  }
};

template <class Element>
class HostLanes {
 public:
  struct Fragment {
    uint32_t lane[32][4];
  };
  struct Sum {
    typename Element::Sum lane[32][4];
  };

  /// `shared`: the block's shared memory.
  explicit HostLanes(const uint8_t* shared) : shared_(shared) {}

  /// ldmatrix.x4: lanes 8 i to 8 i + 7 name the rows of matrix i, 8 x 16 bytes each; register i of
  /// lane l is the four bytes l % 4 of row l / 4.
  template <class OffsetOf>
  void load(Fragment& out, const OffsetOf& offset_of) const {
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int lane = 0; lane < 32; ++lane) {
        const uint8_t* row = shared_ + offset_of(8 * matrix + lane / 4);
        std::memcpy(&out.lane[lane][matrix], row + lane % 4 * 4, 4);
      }
    }
  }

  /// mma.m16n8k16 or m16n8k32: with group = lane / 4 and quad = lane % 4, A's register r holds row
  /// group + 8 (r % 2), bytes 4 quad + 16 (r / 2) on; B's register r column group, bytes 4 quad +
  /// 16 r on; C's register r row group + 8 (r / 2), column 2 quad + r % 2.
  void multiply(Sum& c, const Fragment& a, const Fragment& b, int half) const {
    uint8_t left[16][32], right[8][32];
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, quad = lane % 4;
      for (int r = 0; r < 4; ++r) {
        std::memcpy(&left[group + 8 * (r % 2)][4 * quad + 16 * (r / 2)], &a.lane[lane][r], 4);
      }
      for (int r = 0; r < 2; ++r) {
        std::memcpy(&right[group][4 * quad + 16 * r], &b.lane[lane][2 * half + r], 4);
      }
    }
    bool zero[16];
    for (int i = 0; i < 16; ++i) {
      zero[i] = std::all_of(left[i], left[i] + 32, [](uint8_t byte) { return byte == 0; });
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, quad = lane % 4;
      for (int r = 0; r < 4; ++r) {
        const int row = group + 8 * (r / 2);
        if (zero[row]) continue;  // padding: adds nothing
        typename Element::Sum& sum = c.lane[lane][r];
        sum = Element::add_step(left[row], right[2 * quad + r % 2], sum);
      }
    }
  }

  template <class Visit>
  void each_lane(const Visit& visit) const {
    for (int lane = 0; lane < 32; ++lane) visit(lane);
  }
  static float value(const Sum& sum, int lane, int reg) {
    return static_cast<float>(sum.lane[lane][reg]);
  }

 private:
  const uint8_t* shared_;
};

}  // namespace crinn::gpu
