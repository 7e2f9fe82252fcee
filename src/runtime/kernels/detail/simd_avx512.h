// Sixteen floats at a time with AVX-512; SimdAvx512Bf16 adds the bf16 dot product instruction.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace uniscale::runtime {
namespace {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")

struct SimdAvx512 {
  // Without a dot product instruction the halves of a word take registers of their own: narrower tiles.
  static constexpr int kLanes = 16, kTileRows = 6, kTileVectors = 4;
  using F = __m512;
  using I = __m512i;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1U << n) - 1U); }
  static F load_partial(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store_partial(float* p, F x, int n) { _mm512_mask_storeu_ps(p, mask(n), x); }
  static I load_words(const void* p) { return _mm512_loadu_si512(p); }
  static I load_words_partial(const void* p, int n) { return _mm512_maskz_loadu_epi32(mask(n), p); }
  static void store_words(void* p, I x) { _mm512_storeu_si512(p, x); }
  static I broadcast_word(const uint32_t* p) { return _mm512_set1_epi32(static_cast<int>(*p)); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F sqrt(F x) { return _mm512_sqrt_ps(x); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F round(F x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F scale(F x, F n) { return _mm512_scalef_ps(x, n); }
  static float sum(F x) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  static F as_float(I x) { return _mm512_castsi512_ps(x); }
  static I as_words(F x) { return _mm512_castps_si512(x); }

  static I round_bf16(F x) {
    const I bits = as_words(x);
    const I odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    return _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd), 16);
  }
  static void store_bf16(uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(round_bf16(x)));
  }
  static void store_bf16_partial(uint16_t* p, F x, int n) {
    _mm256_mask_storeu_epi16(p, mask(n), _mm512_cvtepi32_epi16(round_bf16(x)));
  }
  static I pack_bf16(F low, F high) {
    return _mm512_or_si512(round_bf16(low), _mm512_slli_epi32(round_bf16(high), 16));
  }
  static I join_halves(const uint16_t* a, const uint16_t* b, int n) {
    const I low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), a));
    if (b == nullptr) return low;
    const I high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), b));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }
  static F load_bf16(const uint16_t* p, int n) {
    return as_float(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), p)), 16));
  }
  static F low_half(I x) { return as_float(_mm512_slli_epi32(x, 16)); }
  static F high_half(I x) {
    return as_float(_mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xFFFF0000U))));
  }
  static void transpose_words(const uint32_t* from, int64_t stride, int rows, int columns, uint32_t* to) {
    for (int c = 0; c < columns; c += 16)
      transpose_block(from + c, stride, rows, columns - c < 16 ? columns - c : 16, to + c * 16);
  }
  static F dot_f32(F acc, I a, I b) { return fma(as_float(a), as_float(b), acc); }
  // rows, columns ≤ 16; words of rows behind `rows` become 0.
  static void transpose_block(const uint32_t* from, int64_t stride, int rows, int columns, uint32_t* to) {
    I a[16], b[16];
    const __mmask16 columns_mask = mask(columns);
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r)
      a[r] = r < rows ? _mm512_maskz_loadu_epi32(columns_mask, from + r * stride) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int r = 0; r < 16; r += 2) {
      b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
      b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
    }
    // a[4k + i]: column 4·lane + i of rows 4k … 4k + 3, lane by lane.
#pragma GCC unroll 4
    for (int r = 0; r < 16; r += 4) {
      a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
      a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
      a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
      a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const I low = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x44),
              high = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xEE);
      const I low2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x44),
              high2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xEE);
      b[i] = _mm512_shuffle_i32x4(low, low2, 0x88);
      b[4 + i] = _mm512_shuffle_i32x4(low, low2, 0xDD);
      b[8 + i] = _mm512_shuffle_i32x4(high, high2, 0x88);
      b[12 + i] = _mm512_shuffle_i32x4(high, high2, 0xDD);
    }
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c)
      if (c < columns) store_words(to + c * 16, b[c]);
  }
  static F dot_bf16(F acc, I a, I b) {
    const I high = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    acc = fma(as_float(_mm512_slli_epi32(a, 16)), as_float(_mm512_slli_epi32(b, 16)), acc);
    return fma(as_float(_mm512_and_si512(a, high)), as_float(_mm512_and_si512(b, high)), acc);
  }
};

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

struct SimdAvx512Bf16 : SimdAvx512 {
  static void store_bf16(uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
  static void store_bf16_partial(uint16_t* p, F x, int n) {
    _mm256_mask_storeu_epi16(p, mask(n), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
  static I pack_bf16(F low, F high) {
    const I both = reinterpret_cast<I>(_mm512_cvtne2ps_pbh(high, low));  // low's halves, then high's
    const __m256i low_half = _mm512_castsi512_si256(both), high_half = _mm512_extracti64x4_epi64(both, 1);
    return _mm512_or_si512(_mm512_cvtepu16_epi32(low_half),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(high_half), 16));
  }
  static F dot_bf16(F acc, I a, I b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

#pragma GCC pop_options

}  // namespace
}  // namespace uniscale::runtime
