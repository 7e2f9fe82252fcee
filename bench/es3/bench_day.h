// The log store that bench/es3 builds a day of: per unit of scale 8,000 users, 40,000 search requests × (50
// shown + 150 not shown) and 20,000 feed requests × 50 on one day; a tenth of that the day before; clicks of
// the week before that, for histories. No causal model (that is synth/): sizes and shares are exact instead.
// Ids are strings of constant length. The hash seed is chosen so that no two 3-grams share a dimension:
// engines that count 3-grams as text find the same similarities.
#pragma once

#include <cstdint>
#include <string>

namespace uniscale::bench {

struct BenchDayOptions {
  int scale = 1;   // users and buckets (16 each); items and queries stay
  int shrink = 1;  // a test's size: users / shrink
  uint64_t seed = 1;
};

inline constexpr const char* kBenchDay = "2026-03-08";

void write_bench_day(const std::string& store, const BenchDayOptions& options);

}  // namespace uniscale::bench
