#include "text/similarity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/hash.h"
#include "text/normalise.h"

namespace uniscale::text {
namespace {

// Not a code point, so that a boundary equals no text.
constexpr char32_t kBoundary = 0x110000;

constexpr uint64_t kBillion = 1'000'000'000;

__extension__ using Wide = unsigned __int128;

// The product of two numbers of 128 bits.
struct Product {
  Product(Wide a, Wide b) {
    if (a >> 64 == 0 && b >> 64 == 0) {
      low = a * b;
      return;
    }
    const Wide a_low = static_cast<uint64_t>(a), a_high = a >> 64;
    const Wide b_low = static_cast<uint64_t>(b), b_high = b >> 64;
    const Wide corner = a_low * b_low;
    // No sum overflows: (2^64 − 1)² + 2^64 − 1 < 2^128.
    const Wide middle = a_high * b_low + (corner >> 64);
    const Wide other = a_low * b_high + static_cast<uint64_t>(middle);
    low = other << 64 | static_cast<uint64_t>(corner);
    high = a_high * b_high + (middle >> 64) + (other >> 64);
  }
  Wide high = 0;
  Wide low = 0;
};
bool is_less(const Product& a, const Product& b) {
  return a.high != b.high ? a.high < b.high : a.low < b.low;
}

}  // namespace

NgramVector ngram_vector(std::string_view raw_text, uint64_t hash_seed) {
  NgramVector vector;
  const std::string text = normalise(raw_text);
  if (text.empty()) return vector;
  std::vector<char32_t> points{kBoundary};
  for (char32_t c : code_points(text)) points.push_back(c);
  points.push_back(kBoundary);
  std::vector<uint32_t> dimensions;
  for (size_t i = 0; i + 3 <= points.size(); ++i) {
    std::array<char, 12> bytes;
    std::memcpy(bytes.data(), points.data() + i, bytes.size());
    dimensions.push_back(static_cast<uint32_t>(base::stable_hash(hash_seed, {bytes.data(), bytes.size()}) &
                                               ((1U << kNgramBits) - 1)));
  }
  std::sort(dimensions.begin(), dimensions.end());
  for (uint32_t dimension : dimensions) {
    if (!vector.counts.empty() && vector.counts.back().dimension == dimension) {
      ++vector.counts.back().count;
    } else {
      vector.counts.push_back({dimension, 1});
    }
  }
  for (const NgramCount& one : vector.counts)
    vector.squared_norm += static_cast<int64_t>(one.count) * one.count;
  return vector;
}

int64_t dot(const NgramVector& a, const NgramVector& b) {
  int64_t sum = 0;
  for (size_t i = 0, j = 0; i < a.counts.size() && j < b.counts.size();) {
    if (a.counts[i].dimension < b.counts[j].dimension) {
      ++i;
    } else if (a.counts[i].dimension > b.counts[j].dimension) {
      ++j;
    } else {
      sum += static_cast<int64_t>(a.counts[i++].count) * b.counts[j++].count;
    }
  }
  return sum;
}

double cosine(const NgramVector& a, const NgramVector& b) {
  if (a.squared_norm == 0 || b.squared_norm == 0) return 0.0;
  return static_cast<double>(dot(a, b)) /
         std::sqrt(static_cast<double>(a.squared_norm) * static_cast<double>(b.squared_norm));
}

CosineThreshold::CosineThreshold(double threshold)
    : billionths_(static_cast<uint64_t>(std::llround(std::max(threshold, 0.0) * kBillion))) {}

bool CosineThreshold::is_reached(int64_t dot, int64_t squared_norm, int64_t other_squared_norm) const {
  // (10⁹·dot)² ≥ billionths²·n₁·n₂. 10⁹·dot and billionths·√(n₁·n₂) stay below 2^94, their squares may not
  // fit: the factors are split in two.
  const Wide left = Wide{kBillion} * static_cast<uint64_t>(dot);
  const Wide norms = Wide{static_cast<uint64_t>(squared_norm)} * static_cast<uint64_t>(other_squared_norm);
  return !is_less(Product(left, left), Product(norms, Wide{billionths_} * billionths_));
}

bool at_least(const NgramVector& a, const NgramVector& b, const CosineThreshold& threshold) {
  if (a.squared_norm == 0 || b.squared_norm == 0) return false;
  return threshold.is_reached(dot(a, b), a.squared_norm, b.squared_norm);
}

}  // namespace uniscale::text
