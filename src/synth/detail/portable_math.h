// Elementary functions in plain + − × ÷, so that a world has the same bytes on every machine: libm's exp and
// log differ in the last bit between versions and CPUs. The room is compiled with -ffp-contract=off. Accuracy
// about 1e-14 relative. Thread-safe: pure functions, and draws from the caller's stream.
#pragma once

#include "base/random.h"

namespace uniscale::synth {

// Clamped to [-700, 700].
double exp_of(double x);
// x > 0.
double log_of(double x);
inline double sigmoid(double x) { return 1.0 / (1.0 + exp_of(-x)); }

// Standard normal (polar method).
double draw_normal(base::RandomStream& random);
// Mean `mean` ≥ 0.
double draw_exponential(base::RandomStream& random, double mean);
// Mean `mean` ≥ 0; sums of at most 16 each, so any mean works.
int draw_poisson(base::RandomStream& random, double mean);

// A sum of four uniforms made of one word, shifted and scaled to mean 0, variance 1: a cheap bell.
inline double bell_of(uint64_t word) {
  const auto sum =
      static_cast<double>((word & 0xffff) + ((word >> 16) & 0xffff) + ((word >> 32) & 0xffff) + (word >> 48));
  return (sum * (1.0 / 65536.0) - 2.0) * 1.7320508075688772;
}

}  // namespace uniscale::synth
