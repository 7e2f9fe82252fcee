#include "synth/detail/portable_math.h"

#include <gtest/gtest.h>

#include <cmath>

namespace uniscale::synth {
namespace {

TEST(PortableMath, ExpAgreesWithTheLibrary) {
  for (double x = -30.0; x <= 30.0; x += 0.0137) EXPECT_NEAR(exp_of(x) / std::exp(x), 1.0, 1e-13) << x;
  EXPECT_EQ(exp_of(0.0), 1.0);
  EXPECT_GT(exp_of(-1e9), 0.0);
  EXPECT_TRUE(std::isfinite(exp_of(1e9)));
}

TEST(PortableMath, LogAgreesWithTheLibrary) {
  for (double x = 1e-9; x < 1e9; x *= 1.0173)
    EXPECT_NEAR(log_of(x), std::log(x), 1e-13 * (1 + std::abs(std::log(x)))) << x;
  EXPECT_EQ(log_of(1.0), 0.0);
}

TEST(PortableMath, DrawsHaveTheirMoments) {
  base::RandomStream random(3, 4);
  constexpr int kDraws = 40'000;
  double normal = 0, normal_square = 0, bell = 0, bell_square = 0, exponential = 0, poisson = 0,
         poisson_square = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = draw_normal(random), b = bell_of(random.next_u64()), n = draw_poisson(random, 37.5);
    normal += z;
    normal_square += z * z;
    bell += b;
    bell_square += b * b;
    exponential += draw_exponential(random, 5.0);
    poisson += n;
    poisson_square += n * n;
  }
  const double se = 1.0 / std::sqrt(static_cast<double>(kDraws));  // of a mean of unit variance
  EXPECT_NEAR(normal / kDraws, 0.0, 4 * se);
  EXPECT_NEAR(normal_square / kDraws, 1.0, 4 * std::sqrt(2.0) * se);
  EXPECT_NEAR(bell / kDraws, 0.0, 4 * se);
  EXPECT_NEAR(bell_square / kDraws, 1.0, 4 * std::sqrt(2.0) * se);
  EXPECT_NEAR(exponential / kDraws, 5.0, 4 * 5.0 * se);
  const double mean = poisson / kDraws;
  EXPECT_NEAR(mean, 37.5, 4 * std::sqrt(37.5) * se);
  EXPECT_NEAR(poisson_square / kDraws - mean * mean, 37.5, 2.0);
  EXPECT_EQ(draw_poisson(random, 0.0), 0);
}

}  // namespace
}  // namespace uniscale::synth
