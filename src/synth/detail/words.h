// The words of the shop: departments, their leaf categories with nouns and a typical price, adjectives,
// materials, and a grammar of invented brand names. Thread-safe: constants and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace uniscale::synth {

struct LeafWords {
  std::string_view department;
  std::string_view leaf;
  double typical_price;
  std::vector<std::string_view> nouns;
};

const std::vector<LeafWords>& leaf_words();
const std::vector<std::string_view>& adjectives();
// Materials that a department uses; indices into materials().
const std::vector<std::string_view>& materials();
const std::vector<int>& materials_of(std::string_view department);

// Distinct invented names, "Velora", "Kestrand".
std::vector<std::string> brand_names(int64_t count, base::RandomStream& random);
// A short invented model name, "Tarn", "Oli".
std::string model_name(uint64_t number);

inline constexpr int kNumAgeGroups = 5;
std::string_view age_group_name(int group);
inline constexpr int kNumSegments = 6;
std::string_view segment_name(int segment);

}  // namespace uniscale::synth
