#include "plain_product.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define US_BENCH_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace uniscale::bench {
namespace {

template <int kRows>
US_BENCH_TARGET void block(const uint16_t* x, int64_t in, const uint16_t* w, float* y, int64_t out) {
  __m512 sums[kRows][4];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[r][v] = _mm512_setzero_ps();
  for (int64_t i = 0; i < in; i += 2, w += 128) {
    __m512i weights[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) weights[v] = _mm512_loadu_si512(w + 32 * v);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      int pair;
      __builtin_memcpy(&pair, x + r * in + i, 4);
      const __m512i value = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v)
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], reinterpret_cast<__m512bh>(value),
                                      reinterpret_cast<__m512bh>(weights[v]));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm512_storeu_ps(y + r * out + 16 * v, sums[r][v]);
}

}  // namespace

bool has_plain_product() {
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512vl") != 0;
}

void plain_product(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* w, int64_t out, float* y) {
  for (int64_t o = 0; o < out; o += 64, w += in * 64) {
    int64_t r = 0;
    for (; r + 6 <= rows; r += 6) block<6>(x + r * in, in, w, y + r * out + o, out);
    for (; r < rows; ++r) block<1>(x + r * in, in, w, y + r * out + o, out);
  }
}

US_BENCH_TARGET double instruction_flops(int64_t steps) {
  __m512 sums[24];
  __m512i ones = _mm512_set1_epi32(0x3F803F80);
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    asm volatile("" : "+v"(ones));
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i)
      sums[i] = _mm512_dpbf16_ps(sums[i], reinterpret_cast<__m512bh>(ones), reinterpret_cast<__m512bh>(ones));
  }
  float total = 0;
  for (const __m512& sum : sums) total += _mm512_reduce_add_ps(sum);
  asm volatile("" ::"x"(total));
  return static_cast<double>(steps) * 24 * 64;
}

}  // namespace uniscale::bench

#else

namespace uniscale::bench {
bool has_plain_product() { return false; }
void plain_product(const uint16_t*, int64_t, int64_t, const uint16_t*, int64_t, float*) {}
double instruction_flops(int64_t) { return 0; }
}  // namespace uniscale::bench

#endif
