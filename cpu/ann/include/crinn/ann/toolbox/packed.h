// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "crinn/ann/toolbox/integer.h"
#include "crinn/ann/toolbox/simd.h"

/// Products of packed codes of 1, 2, 4, 5, 7 or 8 bits with an int8 query: one vector at a time, or
/// many at once when their codes are interleaved. Exact in int32. Codes of 5 and 7 bits take a byte
/// as well: AVX2 multiplies those of 7 in half the instructions that it needs for 8, and sums those
/// of 5 in 16 bits.
namespace crinn::ann {

namespace scalar {

/// Packed codes of kBits each: byte p of `codes` holds 8 / kBits codes, the lowest bits first; code
/// s of byte p meets query[s * plane + p]. Returns sum code * query over `bytes` bytes.
template <int kBits>
int32_t dot_packed(const uint8_t* codes, const int8_t* query, int64_t plane, int64_t bytes) {
  int32_t sum = 0;
  for (int64_t p = 0; p < bytes; ++p) {
    for (int s = 0; s < 8 / kBits; ++s) {
      sum += (codes[p] >> (s * kBits) & ((1 << kBits) - 1)) * query[s * plane + p];
    }
  }
  return sum;
}

/// The same for `lanes` vectors at once whose codes are interleaved by words of four bytes:
/// codes [words][stride][4], of which the first `lanes` are wanted;
/// out [lanes] = sum code * query - bias. `which` [words], where given: the words that count.
template <int kBits>
void dot_lanes(const uint8_t* codes, int64_t words, int64_t stride, int64_t lanes,
               const int8_t* query, int64_t plane, int32_t bias, int32_t* out,
               const int32_t* which = nullptr) {
  for (int64_t lane = 0; lane < lanes; ++lane) {
    int32_t sum = -bias;
    for (int64_t i = 0; i < words; ++i) {
      const int64_t w = which ? which[i] : i;
      sum += dot_packed<kBits>(codes + (w * stride + lane) * 4, query + w * 4, plane, 4);
    }
    out[lane] = sum;
  }
}

}  // namespace scalar

namespace detail {

#if defined(CRINN_SIMD_AVX512)

/// Code s of every byte, as u8.
template <int kBits>
inline __m512i unpack_codes(__m512i bytes, int s) {
  if constexpr (kBits > 4) {
    return bytes;
  } else {
    return _mm512_and_si512(_mm512_srli_epi16(bytes, static_cast<unsigned>(s * kBits)),
                            _mm512_set1_epi8((1 << kBits) - 1));
  }
}

/// Adds 64 bytes of packed codes to a sum.
template <int kBits>
inline __m512i add_packed(__m512i acc, __m512i bytes, const int8_t* query, int64_t plane) {
  for (int s = 0; s < 8 / kBits; ++s) {
    acc = _mm512_dpbusd_epi32(acc, unpack_codes<kBits>(bytes, s), load_bytes(query + s * plane));
  }
  return acc;
}

/// kGroups groups of 16 lanes. One sum a lane: two would shorten the chain of a record, but chains
/// of consecutive records overlap anyway, and more sums measured slower.
template <int kBits, int kGroups, bool kListed>
inline void dot_groups(const uint8_t* codes, int64_t words, int64_t stride, const int8_t* query,
                       int64_t plane, int32_t bias, int32_t* out, const int32_t* which) {
  __m512i sums[kGroups];
  for (int g = 0; g < kGroups; ++g) sums[g] = _mm512_set1_epi32(-bias);
  for (int64_t i = 0; i < words; ++i) {
    const int64_t w = kListed ? which[i] : i;
    const uint8_t* row = codes + w * stride * 4;
    for (int s = 0; s < 8 / kBits; ++s) {
      int32_t piece;
      __builtin_memcpy(&piece, query + s * plane + w * 4, 4);
      const __m512i q = _mm512_set1_epi32(piece);
      for (int g = 0; g < kGroups; ++g) {
        sums[g] = _mm512_dpbusd_epi32(sums[g], unpack_codes<kBits>(load_bytes(row + g * 64), s), q);
      }
    }
  }
  for (int g = 0; g < kGroups; ++g) _mm512_storeu_si512(out + g * 16, sums[g]);
}

#elif defined(CRINN_SIMD_AVX2)

/// Code s of every byte; kBits == 8 gives code - 128, so that products fit (see Multiplier).
template <int kBits>
inline __m256i unpack_codes(__m256i bytes, int s) {
  if constexpr (kBits == 8) {
    return _mm256_xor_si256(bytes, _mm256_set1_epi8(static_cast<char>(0x80)));
  } else if constexpr (kBits > 4) {
    return bytes;
  } else {
    return _mm256_and_si256(s == 0 ? bytes : _mm256_srli_epi16(bytes, s * kBits),
                            _mm256_set1_epi8((1 << kBits) - 1));
  }
}

/// Bytes of a query, for products with what unpack_codes gives.
template <int kBits>
class Multiplier {
 public:
  explicit Multiplier(__m256i q) : q_(q), magnitudes_(kBits == 8 ? _mm256_abs_epi8(q) : q) {}
  /// code * q in int16, two products added, without saturation: u8 x s8 would overflow, while
  /// |code - 128| * 127 * 2 does not for codes from 1 on, nor 127 * 127 * 2.
  __m256i pairs(__m256i codes) const {
    return kBits == 8 ? _mm256_maddubs_epi16(magnitudes_, _mm256_sign_epi8(codes, q_))
                      : _mm256_maddubs_epi16(codes, q_);
  }

 private:
  __m256i q_, magnitudes_;
};

inline __m256i add_pairs(__m256i acc, __m256i pairs) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/// The pairs of products of this many words fit into int16 together: with 4 bits, 8 pairs of up to
/// 2 * 15 * 127; with 5, 4 of up to 2 * 31 * 127.
template <int kBits>
inline constexpr int kWordsOfPairs = kBits >= 7   ? 1
                                     : kBits >= 4 ? 4
                                     : kBits == 2 ? 10
                                                  : 16;

/// All products of kVectors vectors, each in eight sums: the query is read once for all.
template <int kBits, int kVectors>
inline void sum_packed(const uint8_t* const (&codes)[kVectors], const int8_t* query, int64_t plane,
                       int64_t bytes, __m256i (&sums)[kVectors]) {
  constexpr int kStep = kBits >= 7 ? 32 : 64;  // whose products fit into int16 together
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (int64_t p = 0; p < bytes; p += kStep) {
    __m256i pairs[kVectors] = {};
    for (int64_t part = p; part < p + kStep; part += 32) {
      for (int s = 0; s < 8 / kBits; ++s) {
        const Multiplier<kBits> multiplier(load_bytes(query + s * plane + part));
        for (int v = 0; v < kVectors; ++v) {
          const __m256i more =
              multiplier.pairs(unpack_codes<kBits>(load_bytes(codes[v] + part), s));
          pairs[v] = kBits >= 7 ? more : _mm256_add_epi16(pairs[v], more);
        }
      }
    }
    for (int v = 0; v < kVectors; ++v) sums[v] = add_pairs(sums[v], pairs[v]);
  }
}

/// kGroups groups of 8 lanes.
template <int kBits, int kGroups, bool kListed>
inline void dot_groups(const uint8_t* codes, int64_t words, int64_t stride, const int8_t* query,
                       int64_t plane, int32_t bias, int32_t* out, const int32_t* which) {
  __m256i sums[kGroups];
  for (int g = 0; g < kGroups; ++g) sums[g] = _mm256_set1_epi32(-bias);
  for (int64_t begin = 0; begin < words; begin += kWordsOfPairs<kBits>) {
    const int64_t end = begin + kWordsOfPairs<kBits> < words ? begin + kWordsOfPairs<kBits> : words;
    __m256i pairs[kGroups] = {};
    for (int64_t i = begin; i < end; ++i) {
      const int64_t w = kListed ? which[i] : i;
      const uint8_t* row = codes + w * stride * 4;
      for (int s = 0; s < 8 / kBits; ++s) {
        int32_t piece;
        __builtin_memcpy(&piece, query + s * plane + w * 4, 4);
        const Multiplier<kBits> multiplier(_mm256_set1_epi32(piece));
        for (int g = 0; g < kGroups; ++g) {
          const __m256i products =
              multiplier.pairs(unpack_codes<kBits>(load_bytes(row + g * 32), s));
          pairs[g] = kWordsOfPairs<kBits> == 1 ? products : _mm256_add_epi16(pairs[g], products);
        }
      }
    }
    for (int g = 0; g < kGroups; ++g) sums[g] = add_pairs(sums[g], pairs[g]);
  }
  for (int g = 0; g < kGroups; ++g) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + g * 8), sums[g]);
  }
}

#endif

}  // namespace detail

/// sum code * query over packed codes (see scalar::dot_packed) minus `bias`. `bytes` and `plane`
/// are multiples of 64 and bytes that hold no code meet a zero in the query. query is in [-127,
/// 127]. With kBits == 8, codes that do not meet a zero are not 0, and bias must be 128 * (sum of
/// the query), which some targets get for nothing.
template <int kBits>
inline int32_t dot_packed(const uint8_t* codes, const int8_t* query, int64_t plane, int64_t bytes,
                          int32_t bias) {
#if defined(CRINN_SIMD_AVX512)
  __m512i a = _mm512_setzero_si512(), b = a, c = a, e = a;
  int64_t p = 0;
  for (; p + 256 <= bytes; p += 256) {
    a = detail::add_packed<kBits>(a, detail::load_bytes(codes + p), query + p, plane);
    b = detail::add_packed<kBits>(b, detail::load_bytes(codes + p + 64), query + p + 64, plane);
    c = detail::add_packed<kBits>(c, detail::load_bytes(codes + p + 128), query + p + 128, plane);
    e = detail::add_packed<kBits>(e, detail::load_bytes(codes + p + 192), query + p + 192, plane);
  }
  if (p + 128 <= bytes) {
    a = detail::add_packed<kBits>(a, detail::load_bytes(codes + p), query + p, plane);
    b = detail::add_packed<kBits>(b, detail::load_bytes(codes + p + 64), query + p + 64, plane);
    p += 128;
  }
  if (p < bytes) c = detail::add_packed<kBits>(c, detail::load_bytes(codes + p), query + p, plane);
  return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, e))) -
         bias;
#elif defined(CRINN_SIMD_AVX2)
  __m256i sums[1];
  detail::sum_packed<kBits, 1>({codes}, query, plane, bytes, sums);
  return detail::reduce_add(sums[0]) - (kBits == 8 ? 0 : bias);
#else
  return scalar::dot_packed<kBits>(codes, query, plane, bytes) - bias;
#endif
}

/// dot_packed of four vectors, with the same conditions.
template <int kBits>
inline void dot_packed4(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* e,
                        const int8_t* query, int64_t plane, int64_t bytes, int32_t bias,
                        int32_t* out) {
#if defined(CRINN_SIMD_AVX512)
  __m512i sums[4] = {};
  for (int64_t p = 0; p < bytes; p += 64) {
    sums[0] = detail::add_packed<kBits>(sums[0], detail::load_bytes(a + p), query + p, plane);
    sums[1] = detail::add_packed<kBits>(sums[1], detail::load_bytes(b + p), query + p, plane);
    sums[2] = detail::add_packed<kBits>(sums[2], detail::load_bytes(c + p), query + p, plane);
    sums[3] = detail::add_packed<kBits>(sums[3], detail::load_bytes(e + p), query + p, plane);
  }
  const __m128i totals = detail::reduce_add4(sums[0], sums[1], sums[2], sums[3]);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_sub_epi32(totals, _mm_set1_epi32(bias)));
#elif defined(CRINN_SIMD_AVX2)
  __m256i sums[4];
  detail::sum_packed<kBits, 4>({a, b, c, e}, query, plane, bytes, sums);
  const __m128i totals = detail::reduce_add4(sums[0], sums[1], sums[2], sums[3]);
  if constexpr (kBits == 8) bias = 0;  // unpack_codes has centred the codes
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_sub_epi32(totals, _mm_set1_epi32(bias)));
#else
  out[0] = dot_packed<kBits>(a, query, plane, bytes, bias);
  out[1] = dot_packed<kBits>(b, query, plane, bytes, bias);
  out[2] = dot_packed<kBits>(c, query, plane, bytes, bias);
  out[3] = dot_packed<kBits>(e, query, plane, bytes, bias);
#endif
}

namespace detail {

template <int kBits, bool kListed>
inline void dot_all_groups(const uint8_t* codes, int64_t words, int64_t stride, int64_t lanes,
                           const int8_t* query, int64_t plane, int32_t bias, int32_t* out,
                           const int32_t* which) {
#if defined(CRINN_SIMD_AVX512) || defined(CRINN_SIMD_AVX2)
#if defined(CRINN_SIMD_AVX512)
  constexpr int64_t kGroup = 16;
#else
  constexpr int64_t kGroup = 8;
  if constexpr (kBits == 8) bias = 0;  // unpack_codes has centred the codes
#endif
  int64_t lane = 0;
  for (; lane + 4 * kGroup <= lanes; lane += 4 * kGroup) {
    dot_groups<kBits, 4, kListed>(codes + lane * 4, words, stride, query, plane, bias, out + lane,
                                  which);
  }
  switch ((lanes - lane) / kGroup) {
    case 3:
      dot_groups<kBits, 3, kListed>(codes + lane * 4, words, stride, query, plane, bias, out + lane,
                                    which);
      break;
    case 2:
      dot_groups<kBits, 2, kListed>(codes + lane * 4, words, stride, query, plane, bias, out + lane,
                                    which);
      break;
    case 1:
      dot_groups<kBits, 1, kListed>(codes + lane * 4, words, stride, query, plane, bias, out + lane,
                                    which);
      break;
    default: break;
  }
#else
  scalar::dot_lanes<kBits>(codes, words, stride, lanes, query, plane, bias, out, which);
#endif
}

}  // namespace detail

/// scalar::dot_lanes; lanes is a multiple of 16. With kBits == 8, codes and bias as in dot_packed.
template <int kBits>
inline void dot_lanes(const uint8_t* codes, int64_t words, int64_t stride, int64_t lanes,
                      const int8_t* query, int64_t plane, int32_t bias, int32_t* out) {
  detail::dot_all_groups<kBits, false>(codes, words, stride, lanes, query, plane, bias, out,
                                       nullptr);
}

/// The same over the words which [count] alone: where most of the query's words are zero, and the
/// others are known.
template <int kBits>
inline void dot_lanes_of(const int32_t* which, int64_t count, const uint8_t* codes, int64_t stride,
                         int64_t lanes, const int8_t* query, int64_t plane, int32_t bias,
                         int32_t* out) {
  detail::dot_all_groups<kBits, true>(codes, count, stride, lanes, query, plane, bias, out, which);
}

}  // namespace crinn::ann
