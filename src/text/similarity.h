// Hashed character 3-gram counts and their cosine (es3.md, preamble): code points of the normalised text with
// one boundary mark each side, hashed to 2^18 dimensions. Integer counts, so that thresholds are exact:
// cosine ≥ τ ⇔ dot² ≥ τ²·n₁·n₂, with τ as the decimal that was written. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace uniscale::text {

inline constexpr int kNgramBits = 18;

struct NgramCount {
  uint32_t dimension;
  int32_t count;
  bool operator==(const NgramCount&) const = default;
};

struct NgramVector {
  std::vector<NgramCount> counts;  // by dimension
  int64_t squared_norm = 0;
};

// Empty text gives an empty vector (similar to nothing).
NgramVector ngram_vector(std::string_view raw_text, uint64_t hash_seed);
int64_t dot(const NgramVector& a, const NgramVector& b);
double cosine(const NgramVector& a, const NgramVector& b);

// A least cosine τ in 0 … 1, to nine decimals: 0.2 means a fifth, though no double is one.
class CosineThreshold {
 public:
  explicit CosineThreshold(double threshold);
  // dot² ≥ τ²·n₁·n₂ in integers, for counts: 0 ≤ dot, squared norms > 0.
  bool is_reached(int64_t dot, int64_t squared_norm, int64_t other_squared_norm) const;

 private:
  uint64_t billionths_;
};

// False if one of them is empty.
bool at_least(const NgramVector& a, const NgramVector& b, const CosineThreshold& threshold);
inline bool at_least(const NgramVector& a, const NgramVector& b, double threshold) {
  return at_least(a, b, CosineThreshold(threshold));
}

}  // namespace uniscale::text
