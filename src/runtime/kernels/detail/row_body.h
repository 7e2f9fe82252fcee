// Row by row: norms, conversion to operands, sigmoid.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/kernels/detail/attention_body.h"

namespace uniscale::runtime {
namespace {

// Stores width operands of one row from value(column, count), and the padding.
template <class S, Precision kPrecision, class Value>
inline void store_operands(int64_t width, void* y, const Value& value) {
  for (int64_t c = 0; c < width; c += S::kLanes) {
    const auto n = static_cast<int>(std::min<int64_t>(width - c, S::kLanes));
    if constexpr (kPrecision == Precision::Fp32) {
      float* to = static_cast<float*>(y) + c;
      n == S::kLanes ? S::store(to, value(c, n)) : S::store_partial(to, value(c, n), n);
    } else {
      uint16_t* to = static_cast<uint16_t*>(y) + c;
      n == S::kLanes ? S::store_bf16(to, value(c, n)) : S::store_bf16_partial(to, value(c, n), n);
    }
  }
  if (width % 2 != 0) {
    if constexpr (kPrecision == Precision::Fp32)
      static_cast<float*>(y)[width] = 0.0F;
    else
      static_cast<uint16_t*>(y)[width] = 0;
  }
}

template <class S>
inline typename S::F load_some(const float* p, int n) {
  return n == S::kLanes ? S::load(p) : S::load_partial(p, n);
}

template <Precision kPrecision>
inline void* operand_row(void* y, int64_t row, int64_t stride) {
  return static_cast<std::byte*>(y) + row * stride * (kPrecision == Precision::Fp32 ? 4 : 2);
}

template <class S, Precision kPrecision>
void rms_norm_body(const float* x, int64_t rows, int64_t width, int64_t x_stride, const float* scale,
                   float epsilon, void* y, int64_t y_stride) {
  using F = typename S::F;
  for (int64_t r = 0; r < rows; ++r, x += x_stride) {
    F squares = S::zero();
    for (int64_t c = 0; c < width; c += S::kLanes) {
      const F value = load_some<S>(x + c, static_cast<int>(std::min<int64_t>(width - c, S::kLanes)));
      squares = S::fma(value, value, squares);
    }
    const F factor = S::set1(1.0F / std::sqrt(S::sum(squares) / static_cast<float>(width) + epsilon));
    store_operands<S, kPrecision>(width, operand_row<kPrecision>(y, r, y_stride), [&](int64_t c, int n) {
      const F value = S::mul(load_some<S>(x + c, n), factor);
      return scale == nullptr ? value : S::mul(value, load_some<S>(scale + c, n));
    });
  }
}

template <class S, Precision kPrecision>
void to_operands_body(const float* x, int64_t rows, int64_t width, int64_t x_stride, void* y,
                      int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r, x += x_stride)
    store_operands<S, kPrecision>(width, operand_row<kPrecision>(y, r, y_stride),
                                  [&](int64_t c, int n) { return load_some<S>(x + c, n); });
}

template <class S>
float dot_body(const float* a, const float* b, int64_t size, float scale) {
  typename S::F sum = S::zero();
  for (int64_t i = 0; i < size; i += S::kLanes) {
    const auto n = static_cast<int>(std::min<int64_t>(size - i, S::kLanes));
    sum = S::fma(load_some<S>(a + i, n), load_some<S>(b + i, n), sum);
  }
  return S::sum(sum) * scale;
}

template <class S>
void multiply_body(float* x, const float* y, int64_t size) {
  for (int64_t i = 0; i < size; i += S::kLanes) {
    const auto n = static_cast<int>(std::min<int64_t>(size - i, S::kLanes));
    const typename S::F value = S::mul(load_some<S>(x + i, n), load_some<S>(y + i, n));
    n == S::kLanes ? S::store(x + i, value) : S::store_partial(x + i, value, n);
  }
}

template <class S, Precision kPrecision>
void mix_body(const MixArgs& a) {
  using F = typename S::F;
  for (int64_t r = 0; r < a.num_rows; ++r) {
    const float* logits = a.logits + r * a.logits_stride;
    float most = logits[0];
    for (int64_t k = 1; k < a.num_values; ++k) most = logits[k] > most ? logits[k] : most;
    float weights[MixArgs::kMaxValues];
    float sum = 0;
    for (int64_t k = 0; k < a.num_values; ++k) sum += weights[k] = std::exp(logits[k] - most);
    for (int64_t k = 0; k < a.num_values; ++k) weights[k] /= sum;
    const float* values = a.values + r * a.row_stride;
    const auto value = [&](int64_t c, int n) {
      F total = S::zero();
      for (int64_t k = 0; k < a.num_values; ++k)
        total = S::fma(load_some<S>(values + k * a.value_stride + c, n), S::set1(weights[k]), total);
      return total;
    };
    if (kPrecision == Precision::Fp32 || a.out_floats)
      store_operands<S, Precision::Fp32>(a.width, operand_row<Precision::Fp32>(a.out, r, a.out_stride),
                                         value);
    else
      store_operands<S, kPrecision>(a.width, operand_row<kPrecision>(a.out, r, a.out_stride), value);
  }
}

template <class S>
void sigmoid_body(float* x, int64_t size) {
  for (int64_t i = 0; i < size; i += S::kLanes) {
    const auto n = static_cast<int>(std::min<int64_t>(size - i, S::kLanes));
    const typename S::F value = sigmoid_of<S>(load_some<S>(x + i, n));
    n == S::kLanes ? S::store(x + i, value) : S::store_partial(x + i, value, n);
  }
}

template <class S, Precision kPrecision>
constexpr Kernels kernels_of(Isa isa) {
  return {.isa = isa,
          .precision = kPrecision,
          .matmul = matmul_body<S, kPrecision>,
          .attention = attention_body<S, kPrecision>,
          .mix = mix_body<S, kPrecision>,
          .rms_norm = rms_norm_body<S, kPrecision>,
          .to_operands = to_operands_body<S, kPrecision>,
          .dot = dot_body<S>,
          .multiply = multiply_body<S>,
          .sigmoid = sigmoid_body<S>};
}

}  // namespace
}  // namespace uniscale::runtime
