// The optimiser's pass over parameters.
#pragma once

#include "runtime/kernels/detail/attention_training_body.h"

namespace uniscale::runtime {
namespace {

template <class S>
void adam_body(const AdamArgs& a) {
  using F = typename S::F;
  const F scale = S::set1(a.scale), keep = S::set1(a.keep), rate = S::set1(-a.rate);
  const F beta1 = S::set1(a.beta1), rest1 = S::set1(1.0F - a.beta1);
  const F beta2 = S::set1(a.beta2), rest2 = S::set1(1.0F - a.beta2);
  const F factor = S::set1(a.second_factor), epsilon = S::set1(a.epsilon);
  for_columns<S>(a.size, [&](int64_t i, int n) {
    const F g = S::mul(load_floats<S>(a.grad + i, n), scale);
    F m = g;
    if (a.first != nullptr) {
      m = S::fma(beta1, load_floats<S>(a.first + i, n), S::mul(rest1, g));
      store_floats<S>(a.first + i, m, n);
    }
    const F s = S::fma(beta2, load_floats<S>(a.second + i, n), S::mul(rest2, S::mul(g, g)));
    store_floats<S>(a.second + i, s, n);
    const F step = S::div(S::mul(m, rate), S::add(S::sqrt(S::mul(s, factor)), epsilon));
    store_floats<S>(a.value + i, S::fma(load_floats<S>(a.value + i, n), keep, step), n);
  });
}

template <class S>
double squared_sum_body(const float* x, int64_t size) {
  constexpr int64_t kBlock = 4096;  // short sums in floats, the rest in double
  double total = 0;
  for (int64_t first = 0; first < size; first += kBlock) {
    typename S::F sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
    for_columns<S>(std::min(kBlock, size - first), [&](int64_t i, int n) {
      const auto value = load_floats<S>(x + first + i, n);
      auto& one = sum[i / S::kLanes % 4];
      one = S::fma(value, value, one);
    });
    total += static_cast<double>(S::sum(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3]))));
  }
  return total;
}

template <class S, Precision kPrecision>
constexpr TrainingKernels training_kernels_of(Isa isa) {
  return {.isa = isa,
          .precision = kPrecision,
          .linear_forward = linear_forward_body<S, kPrecision>,
          .linear_backward = linear_backward_body<S, kPrecision>,
          .attention_forward = attention_forward_body<S, kPrecision>,
          .attention_backward = attention_backward_body<S, kPrecision>,
          .adam = adam_body<S>,
          .squared_sum = squared_sum_body<S>};
}

}  // namespace
}  // namespace uniscale::runtime
