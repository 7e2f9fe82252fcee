#include "synth/detail/portable_math.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace uniscale::synth {
namespace {

constexpr std::array<double, 14> kInverseFactorials = [] {
  std::array<double, 14> values{1.0};
  double factorial = 1.0;
  for (size_t k = 1; k < values.size(); ++k) {
    factorial *= static_cast<double>(k);
    values[k] = 1.0 / factorial;
  }
  return values;
}();

}  // namespace

double exp_of(double x) {
  x = std::clamp(x, -700.0, 700.0);
  // x = n ln 2 + r, |r| ≤ ln 2 / 2; ln 2 in two parts, the first short enough for n × it to be exact.
  const double n = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double sum = kInverseFactorials[13];
  for (size_t k = 13; k-- > 0;) sum = sum * r + kInverseFactorials[k];
  const auto exponent = static_cast<uint64_t>(static_cast<int64_t>(n) + 1023) << 52;
  return sum * std::bit_cast<double>(exponent);
}

double log_of(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int64_t>((bits >> 52) & 0x7ff) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffULL) | (uint64_t{1023} << 52));
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // log m = 2 artanh(s), s = (m − 1)/(m + 1), |s| ≤ 0.172.
  const double s = (m - 1.0) / (m + 1.0);
  const double s2 = s * s;
  double sum = 0.0;
  for (int k = 19; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  return 2.0 * s * sum + static_cast<double>(exponent) * 0.6931471805599453;
}

double draw_normal(base::RandomStream& random) {
  for (;;) {
    const double a = 2.0 * random.uniform() - 1.0;
    const double b = 2.0 * random.uniform() - 1.0;
    const double square = a * a + b * b;
    if (square > 0.0 && square < 1.0) return a * std::sqrt(-2.0 * log_of(square) / square);
  }
}

double draw_exponential(base::RandomStream& random, double mean) {
  return -mean * log_of(1.0 - random.uniform());
}

int draw_poisson(base::RandomStream& random, double mean) {
  int total = 0;
  while (mean > 0.0) {
    const double part = std::min(mean, 16.0);
    mean -= part;
    const double limit = exp_of(-part);
    double product = random.uniform();
    while (product > limit) {
      ++total;
      product *= random.uniform();
    }
  }
  return total;
}

}  // namespace uniscale::synth
