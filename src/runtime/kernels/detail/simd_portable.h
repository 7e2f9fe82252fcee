// Four floats at a time in the compiler's vectors: any machine.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace uniscale::runtime {
namespace {

struct SimdPortable {
  static constexpr int kLanes = 4, kTileRows = 2, kTileVectors = 4;
  using F = float __attribute__((vector_size(16)));
  using I = uint32_t __attribute__((vector_size(16)));

  static F zero() { return F{}; }
  static F set1(float x) { return F{x, x, x, x}; }
  static F load(const float* p) {
    F x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
  static F load_partial(const float* p, int n) {
    F x{};
    std::memcpy(&x, p, static_cast<size_t>(n) * 4);
    return x;
  }
  static void store_partial(float* p, F x, int n) { std::memcpy(p, &x, static_cast<size_t>(n) * 4); }
  static I load_words(const void* p) {
    I x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static I load_words_partial(const void* p, int n) {
    I x{};
    std::memcpy(&x, p, static_cast<size_t>(n) * 4);
    return x;
  }
  static void store_words(void* p, I x) { std::memcpy(p, &x, sizeof x); }
  static I broadcast_word(const uint32_t* p) { return I{*p, *p, *p, *p}; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F sqrt(F x) { return F{std::sqrt(x[0]), std::sqrt(x[1]), std::sqrt(x[2]), std::sqrt(x[3])}; }
  static F fma(F a, F b, F c) { return a * b + c; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F round(F x) { return F{std::rint(x[0]), std::rint(x[1]), std::rint(x[2]), std::rint(x[3])}; }
  // x · 2^n for whole n in −126 … 127.
  static F scale(F x, F n) {
    const I exponent{word(n[0]), word(n[1]), word(n[2]), word(n[3])};
    return x * as_float((exponent + 127U) << 23);
  }
  static float sum(F x) { return (x[0] + x[1]) + (x[2] + x[3]); }
  static F as_float(I x) { return reinterpret_cast<F>(x); }
  static I as_words(F x) { return reinterpret_cast<I>(x); }

  static I round_bf16(F x) {
    const I bits = as_words(x);
    return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  }
  static void store_bf16(uint16_t* p, F x) { store_bf16_partial(p, x, 4); }
  static void store_bf16_partial(uint16_t* p, F x, int n) {
    const I bits = round_bf16(x);
    for (int i = 0; i < n; ++i) p[i] = static_cast<uint16_t>(bits[i]);
  }
  // Words with bf16(low) below bf16(high).
  static I pack_bf16(F low, F high) { return round_bf16(low) | (round_bf16(high) << 16); }
  // Words with a[i] below b[i]; `b` null: 0. n ≤ kLanes.
  static I join_halves(const uint16_t* a, const uint16_t* b, int n) {
    I x{};
    for (int i = 0; i < n; ++i) x[i] = a[i] | (b == nullptr ? 0U : static_cast<uint32_t>(b[i]) << 16);
    return x;
  }
  // n ≤ kLanes bf16 as floats, zeros behind.
  static F load_bf16(const uint16_t* p, int n) { return as_float(join_halves(p, nullptr, n) << 16); }
  // The halves of words as floats.
  static F low_half(I x) { return as_float(x << 16); }
  static F high_half(I x) { return as_float(x & 0xFFFF0000U); }
  // to[c · 16 + r] = from[r · stride + c] for r < rows ≤ 16, c < columns.
  static void transpose_words(const uint32_t* from, int64_t stride, int rows, int columns, uint32_t* to) {
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) to[c * 16 + r] = from[r * stride + c];
  }
  // acc + a · b of the words as floats.
  static F dot_f32(F acc, I a, I b) { return fma(as_float(a), as_float(b), acc); }
  // acc + Σ of the products of both bf16 halves.
  static F dot_bf16(F acc, I a, I b) {
    acc = fma(as_float(a << 16), as_float(b << 16), acc);
    return fma(as_float(a & 0xFFFF0000U), as_float(b & 0xFFFF0000U), acc);
  }

 private:
  static uint32_t word(float n) { return static_cast<uint32_t>(static_cast<int32_t>(n)); }
};

}  // namespace
}  // namespace uniscale::runtime
