// Eight floats at a time with AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace uniscale::runtime {
namespace {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

struct SimdAvx2 {
  static constexpr int kLanes = 8, kTileRows = 6, kTileVectors = 2;
  using F = __m256;
  using I = __m256i;

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static I mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F load_partial(const float* p, int n) { return _mm256_maskload_ps(p, mask(n)); }
  static void store_partial(float* p, F x, int n) { _mm256_maskstore_ps(p, mask(n), x); }
  static I load_words(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static I load_words_partial(const void* p, int n) {
    return _mm256_maskload_epi32(static_cast<const int*>(p), mask(n));
  }
  static void store_words(void* p, I x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  static I broadcast_word(const uint32_t* p) { return _mm256_set1_epi32(static_cast<int>(*p)); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F sqrt(F x) { return _mm256_sqrt_ps(x); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F round(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F scale(F x, F n) {
    const I exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return mul(x, as_float(_mm256_slli_epi32(exponent, 23)));
  }
  static float sum(F x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
  }
  static F as_float(I x) { return _mm256_castsi256_ps(x); }
  static I as_words(F x) { return _mm256_castps_si256(x); }

  static I round_bf16(F x) {
    const I bits = as_words(x);
    const I odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd), 16);
  }
  static void store_bf16(uint16_t* p, F x) {
    const I bits = round_bf16(x);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
  }
  static void store_bf16_partial(uint16_t* p, F x, int n) {
    alignas(16) uint16_t halves[8];
    store_bf16(halves, x);
    for (int i = 0; i < n; ++i) p[i] = halves[i];
  }
  static I pack_bf16(F low, F high) {
    return _mm256_or_si256(round_bf16(low), _mm256_slli_epi32(round_bf16(high), 16));
  }
  static I join_halves(const uint16_t* a, const uint16_t* b, int n) {
    if (n == kLanes) {
      const I low = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
      if (b == nullptr) return low;
      const I high = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
      return _mm256_or_si256(low, _mm256_slli_epi32(high, 16));
    }
    alignas(32) uint32_t words[8] = {};
    for (int i = 0; i < n; ++i) words[i] = a[i] | (b == nullptr ? 0U : static_cast<uint32_t>(b[i]) << 16);
    return load_words(words);
  }
  static F load_bf16(const uint16_t* p, int n) {
    return as_float(_mm256_slli_epi32(join_halves(p, nullptr, n), 16));
  }
  static F low_half(I x) { return as_float(_mm256_slli_epi32(x, 16)); }
  static F high_half(I x) {
    return as_float(_mm256_and_si256(x, _mm256_set1_epi32(static_cast<int>(0xFFFF0000U))));
  }
  static void transpose_words(const uint32_t* from, int64_t stride, int rows, int columns, uint32_t* to) {
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) to[c * 16 + r] = from[r * stride + c];
  }
  static F dot_f32(F acc, I a, I b) { return fma(as_float(a), as_float(b), acc); }
  static F dot_bf16(F acc, I a, I b) {
    const I high = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    acc = fma(as_float(_mm256_slli_epi32(a, 16)), as_float(_mm256_slli_epi32(b, 16)), acc);
    return fma(as_float(_mm256_and_si256(a, high)), as_float(_mm256_and_si256(b, high)), acc);
  }
};

#pragma GCC pop_options

}  // namespace
}  // namespace uniscale::runtime
