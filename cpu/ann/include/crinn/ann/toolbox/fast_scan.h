// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/toolbox/simd.h"

/// Sums of table look-ups over 4-bit codes, 16 vectors at a time: one shuffle looks up 32 or 64
/// codes (FastScan: Andre, Kermarrec, Le Scouarnec, VLDB 2015). On machines without VNNI several
/// times the dimensions a cycle of integer products.
namespace crinn::ann {

/// Groups of codes come eight at a time: 64 bytes of codes, 128 bytes of table.
inline constexpr int64_t kScanGroups = 8;

/// Where the row [16] of a group lies in a table, and where lane j [0, 16) keeps the code of a
/// group: the byte and by how many bits it is shifted.
#if defined(CRINN_SIMD_VBMI)
/// Bytes of a register are 16 lanes of four groups: the low halves are groups 0 to 3 of an octet,
/// the high ones 4 to 7. A permutation looks up 64 codes in the rows of four groups, and VNNI adds
/// the four of a lane.
inline int64_t scan_table_row(int64_t group) { return group * 16; }
inline int64_t scan_code_byte(int64_t group, int64_t lane) {
  return group / kScanGroups * 64 + lane * 4 + group % 4;
}
inline int scan_code_shift(int64_t group) { return static_cast<int>(group % kScanGroups / 4) * 4; }
#else
/// Bytes of a register are 16 lanes a pair of groups. Rows of the even groups of an octet come
/// first, then the odd ones', so that one load fills a register with the rows that the low (high)
/// halves of its bytes look up.
inline int64_t scan_table_row(int64_t group) {
  return (group / kScanGroups * kScanGroups + group % 2 * (kScanGroups / 2) +
          group % kScanGroups / 2) *
         16;
}
inline int64_t scan_code_byte(int64_t group, int64_t lane) { return group / 2 * 16 + lane; }
inline int scan_code_shift(int64_t group) { return static_cast<int>(group % 2) * 4; }
#endif

namespace scalar {

/// out [16] = sum over groups of table[group][code of the lane]. codes [groups * 8] as
/// scan_code_byte says, table [groups][16] in the order of scan_table_row; the sums stay below
/// 2^16.
inline void sum_lookups(const uint8_t* codes, int64_t groups, const uint8_t* table, uint16_t* out) {
  for (int64_t lane = 0; lane < 16; ++lane) {
    int sum = 0;
    for (int64_t group = 0; group < groups; ++group) {
      const int code = codes[scan_code_byte(group, lane)] >> scan_code_shift(group) & 15;
      sum += table[scan_table_row(group) + code];
    }
    out[lane] = static_cast<uint16_t>(sum);
  }
}

}  // namespace scalar

namespace detail {

#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)

/// The bytes of a register summed as 16-bit numbers: `even` holds even bytes plus 256 times odd
/// ones, modulo 2^16, `odd` the odd ones. The 16 lanes in order.
inline void store_byte_sums(__m128i even, __m128i odd, uint16_t* out) {
  even = _mm_sub_epi16(even, _mm_slli_epi16(odd, 8));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi16(even, odd));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 8), _mm_unpackhi_epi16(even, odd));
}

#endif

}  // namespace detail

/// scalar::sum_lookups for `blocks` blocks of 16 lanes, `stride` bytes apart: out [blocks][16].
/// groups is a multiple of 8.
template <int kBlocks>
inline void sum_lookups(const uint8_t* codes, int64_t stride, int64_t groups, const uint8_t* table,
                        uint16_t* out) {
#if defined(CRINN_SIMD_VBMI)
  const __m512i low = _mm512_set1_epi8(15), rows = _mm512_set1_epi32(0x30201000);
  const __m512i ones = _mm512_set1_epi8(1);
  constexpr int kAndOr = 0xea;  // (a & b) | c
  __m512i sums[2 * kBlocks] = {};
  for (int64_t g = 0; g < groups; g += kScanGroups, table += 128, codes += 64) {
    const __m512i first = _mm512_loadu_si512(table), second = _mm512_loadu_si512(table + 64);
    for (int b = 0; b < kBlocks; ++b) {
      const __m512i bytes = _mm512_loadu_si512(codes + b * stride);
      const __m512i high = _mm512_srli_epi16(bytes, 4);
      const __m512i near = _mm512_ternarylogic_epi32(bytes, low, rows, kAndOr);
      const __m512i far = _mm512_ternarylogic_epi32(high, low, rows, kAndOr);
      sums[2 * b] = _mm512_dpbusd_epi32(sums[2 * b], _mm512_permutexvar_epi8(near, first), ones);
      sums[2 * b + 1] =
          _mm512_dpbusd_epi32(sums[2 * b + 1], _mm512_permutexvar_epi8(far, second), ones);
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + b * 16),
                        _mm512_cvtepi32_epi16(_mm512_add_epi32(sums[2 * b], sums[2 * b + 1])));
  }
#elif defined(CRINN_SIMD_AVX512)
  const __m512i low = _mm512_set1_epi8(15);
  __m512i even[kBlocks] = {}, odd[kBlocks] = {};
  for (int64_t g = 0; g < groups; g += kScanGroups, table += 128, codes += 64) {
    const __m512i rows_low = _mm512_loadu_si512(table), rows_high = _mm512_loadu_si512(table + 64);
    for (int b = 0; b < kBlocks; ++b) {
      const __m512i bytes = _mm512_loadu_si512(codes + b * stride);
      const __m512i first = _mm512_shuffle_epi8(rows_low, _mm512_and_si512(bytes, low));
      const __m512i second =
          _mm512_shuffle_epi8(rows_high, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low));
      even[b] = _mm512_add_epi16(even[b], _mm512_add_epi16(first, second));
      odd[b] = _mm512_add_epi16(
          odd[b], _mm512_add_epi16(_mm512_srli_epi16(first, 8), _mm512_srli_epi16(second, 8)));
    }
  }
  const auto fold = [](__m512i sums) {
    const __m256i half =
        _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  };
  for (int b = 0; b < kBlocks; ++b) {
    detail::store_byte_sums(fold(even[b]), fold(odd[b]), out + b * 16);
  }
#elif defined(CRINN_SIMD_AVX2)
  const __m256i low = _mm256_set1_epi8(15);
  __m256i even[kBlocks] = {}, odd[kBlocks] = {};
  for (int64_t g = 0; g < groups; g += kScanGroups, table += 128, codes += 64) {
    for (int half = 0; half < 64; half += 32) {
      const auto* rows = reinterpret_cast<const __m256i*>(table + half);
      const __m256i rows_low = _mm256_loadu_si256(rows), rows_high = _mm256_loadu_si256(rows + 2);
      for (int b = 0; b < kBlocks; ++b) {
        const __m256i bytes =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + b * stride + half));
        const __m256i first = _mm256_shuffle_epi8(rows_low, _mm256_and_si256(bytes, low));
        const __m256i second =
            _mm256_shuffle_epi8(rows_high, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low));
        even[b] = _mm256_add_epi16(even[b], _mm256_add_epi16(first, second));
        odd[b] = _mm256_add_epi16(
            odd[b], _mm256_add_epi16(_mm256_srli_epi16(first, 8), _mm256_srli_epi16(second, 8)));
      }
    }
  }
  const auto fold = [](__m256i sums) {
    return _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  };
  for (int b = 0; b < kBlocks; ++b) {
    detail::store_byte_sums(fold(even[b]), fold(odd[b]), out + b * 16);
  }
#else
  for (int b = 0; b < kBlocks; ++b) {
    scalar::sum_lookups(codes + b * stride, groups, table, out + b * 16);
  }
#endif
}

}  // namespace crinn::ann
