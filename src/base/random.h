// Counter-based random numbers: (seed, key, counter) → number, so that any thread may draw any number in any
// order and the stream stays the same. Thread-safe: pure functions, and a value-type cursor.
#pragma once

#include <cstdint>

namespace uniscale::base {

// SplitMix64 finaliser: a bijection on 64 bits with full avalanche.
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// One draw of the stream named by (seed, key).
constexpr uint64_t random_u64(uint64_t seed, uint64_t key, uint64_t counter) {
  return mix64(mix64(mix64(seed) ^ key) ^ counter);
}

// A cursor over the stream (seed, key): draw after draw.
class RandomStream {
 public:
  RandomStream(uint64_t seed, uint64_t key) : base_(mix64(mix64(seed) ^ key)) {}
  RandomStream(uint64_t seed, uint64_t key_a, uint64_t key_b) : RandomStream(seed, mix64(key_a) ^ key_b) {}

  uint64_t next_u64() { return mix64(base_ ^ counter_++); }
  // In [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }
  // In [0, bound); `bound` > 0. The bias is below bound / 2^64.
  uint64_t below(uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<uint64_t>((static_cast<Wide>(next_u64()) * bound) >> 64);
  }
  bool bernoulli(double probability) { return uniform() < probability; }
  // Standard normal (Box–Muller, two uniforms per value, no state kept between values).
  double normal();
  // Mean `mean` > 0.
  double exponential(double mean);

  uint64_t counter() const { return counter_; }
  void set_counter(uint64_t counter) { counter_ = counter; }

 private:
  uint64_t base_;
  uint64_t counter_ = 0;
};

}  // namespace uniscale::base
