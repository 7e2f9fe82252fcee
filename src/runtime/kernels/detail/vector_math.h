// exp, GELU and sigmoid on vectors of any width. Coefficients: own least-squares fits; the errors at the
// functions were measured over their whole range in steps of 1e-4.
#pragma once

#include "runtime/kernels/kernels.h"

namespace uniscale::runtime {
namespace {

// Σ c[i] x^i.
template <class S, int kSize>
inline typename S::F polynomial(typename S::F x, const float (&c)[kSize]) {
  typename S::F sum = S::set1(c[kSize - 1]);
  for (int i = kSize - 2; i >= 0; --i) sum = S::fma(sum, x, S::set1(c[i]));
  return sum;
}

// 2^x, x clamped to −126 … 127. Relative error 2e-9 before rounding; with Bf16 3e-6.
template <class S, Precision kPrecision>
inline typename S::F exp2_of(typename S::F x) {
  x = S::min(S::max(x, S::set1(-126.0F)), S::set1(127.0F));
  const typename S::F whole = S::round(x), rest = S::sub(x, whole);
  if constexpr (kPrecision == Precision::Fp32) {
    constexpr float kC[] = {1.0F,           0.693147182F,   0.240226462F,   0.0555032901F,
                            0.00961851981F, 0.00133998599F, 0.000153375775F};
    return S::scale(polynomial<S>(rest, kC), whole);
  } else {
    constexpr float kC[] = {0.999999166F, 0.69312197F, 0.240249813F, 0.0559170395F, 0.00956051052F};
    return S::scale(polynomial<S>(rest, kC), whole);
  }
}

// Φ(x) − ½, Φ the normal distribution function.
template <class S, Precision kPrecision>
inline typename S::F centred_cdf_of(typename S::F x) {
  if constexpr (kPrecision == Precision::Fp32) {
    constexpr float kP[] = {0.398942202F,   0.0326503702F,   0.00429834612F, 0.000137933806F,
                            2.95399127e-6F, -2.28773338e-8F, 1.26795477e-10F};
    constexpr float kQ[] = {1.0F, 0.248507887F, 0.0271945558F, 0.00163965055F, 5.21075599e-5F};
    const typename S::F clamped = S::min(S::max(x, S::set1(-5.2F)), S::set1(5.2F));
    const typename S::F square = S::mul(clamped, clamped);
    return S::div(S::mul(clamped, polynomial<S>(square, kP)), polynomial<S>(square, kQ));
  } else {
    constexpr float kP[] = {0.398424059F,   -0.0654551014F,  0.00925527886F, -0.000938743993F,
                            6.51287919e-5F, -2.89510285e-6F, 7.34276568e-8F, -8.00408351e-10F};
    const typename S::F clamped = S::min(S::max(x, S::set1(-4.0F)), S::set1(4.0F));
    const typename S::F square = S::mul(clamped, clamped);
    return S::mul(clamped, polynomial<S>(square, kP));
  }
}

// x · Φ(x): exact (erf) GELU. |error| ≤ 1.2e-6 with Fp32 (rounding of x at the ends); with Bf16 ≤ 9e-5, under
// half a unit in the last place of a bf16 result above 0.05.
template <class S, Precision kPrecision>
inline typename S::F gelu_of(typename S::F x) {
  return S::fma(x, centred_cdf_of<S, kPrecision>(x), S::mul(x, S::set1(0.5F)));
}

// GELU and its slope Φ(x) + x φ(x), φ the normal density.
template <class S, Precision kPrecision>
inline typename S::F gelu_and_slope_of(typename S::F x, typename S::F& slope) {
  const typename S::F cdf = S::add(centred_cdf_of<S, kPrecision>(x), S::set1(0.5F));
  // φ(x) = 2^(−x² · log₂ e / 2) / √2π
  const typename S::F density = exp2_of<S, kPrecision>(S::mul(S::mul(x, x), S::set1(-0.72134752F)));
  slope = S::fma(S::mul(x, S::set1(0.39894228F)), density, cdf);
  return S::mul(x, cdf);
}

template <class S>
inline typename S::F sigmoid_of(typename S::F x) {
  const typename S::F e = exp2_of<S, Precision::Fp32>(S::mul(x, S::set1(-1.44269504F)));
  return S::div(S::set1(1.0F), S::add(S::set1(1.0F), e));
}

}  // namespace
}  // namespace uniscale::runtime
