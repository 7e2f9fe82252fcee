#include "base/random.h"

#include <cmath>
#include <numbers>

namespace uniscale::base {

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double RandomStream::exponential(double mean) { return -mean * std::log(1.0 - uniform()); }

}  // namespace uniscale::base
