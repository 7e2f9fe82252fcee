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

bool at_least(const NgramVector& a, const NgramVector& b, double threshold) {
  if (a.squared_norm == 0 || b.squared_norm == 0) return false;
  const auto product = static_cast<double>(dot(a, b));
  return product * product >=
         threshold * threshold * static_cast<double>(a.squared_norm) * static_cast<double>(b.squared_norm);
}

}  // namespace uniscale::text
