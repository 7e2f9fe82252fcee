// With vector code hnswlib prefetches by a neighbour one past the end of a list: an over-read of four bytes.
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/hash.h"
#include "es3/query_index.h"

namespace uniscale::es3 {
namespace {

constexpr size_t kPointSize = 256;
constexpr size_t kLinks = 16;
constexpr size_t kBuildBeam = 200;
constexpr size_t kSearchBeam = 128;
constexpr size_t kReranked = 64;

// Counts folded by a fixed hash of their dimension, with a sign, to unit length: inner products keep their
// expectation.
void fold(const text::NgramVector& vector, std::vector<float>& point) {
  point.assign(kPointSize, 0.0F);
  for (const text::NgramCount& one : vector.counts) {
    uint64_t mixed = (one.dimension + 1) * 0x9E3779B97F4A7C15ULL;
    mixed ^= mixed >> 29;
    const float sign = (mixed >> 40 & 1) != 0 ? 1.0F : -1.0F;
    point[mixed % kPointSize] += sign * static_cast<float>(one.count);
  }
  float squared = 0;
  for (const float value : point) squared += value * value;
  if (squared == 0) return;
  const float scale = 1.0F / std::sqrt(squared);
  for (float& value : point) value *= scale;
}

class ApproximateQueryIndex final : public QueryIndex {
 public:
  ApproximateQueryIndex(const std::vector<std::string_view>& bank, uint64_t hash_seed)
      : space_(kPointSize), graph_(&space_, std::max<size_t>(bank.size(), 1), kLinks, kBuildBeam) {
    graph_.setEf(kSearchBeam);
    std::vector<float> point;
    vectors_.reserve(bank.size());
    for (size_t i = 0; i < bank.size(); ++i) {
      vectors_.push_back(text::ngram_vector(bank[i], hash_seed));
      fold(vectors_.back(), point);
      graph_.addPoint(point.data(), i);
    }
  }

  std::optional<Found> nearest(const text::NgramVector& title, double floor,
                               Scratch& scratch) const override {
    if (vectors_.empty() || title.squared_norm == 0) return std::nullopt;
    fold(title, scratch.point);
    auto queue = graph_.searchKnn(scratch.point.data(), std::min(kReranked, vectors_.size()));
    int32_t best = -1;
    double best_order = 0;
    for (; !queue.empty(); queue.pop()) {
      const auto query = static_cast<int32_t>(queue.top().second);
      const text::NgramVector& vector = vectors_[static_cast<size_t>(query)];
      if (vector.squared_norm == 0) continue;
      const auto dot = static_cast<double>(text::dot(title, vector));
      const double order = dot * dot / static_cast<double>(vector.squared_norm);
      if (best < 0 || order > best_order || (order == best_order && query < best)) {
        best = query;
        best_order = order;
      }
    }
    if (best < 0 || !text::at_least(title, vectors_[static_cast<size_t>(best)], floor)) return std::nullopt;
    return Found{best, text::cosine(title, vectors_[static_cast<size_t>(best)])};
  }

 private:
  hnswlib::InnerProductSpace space_;
  hnswlib::HierarchicalNSW<float> graph_;
  std::vector<text::NgramVector> vectors_;  // by query
};

}  // namespace

std::unique_ptr<const QueryIndex> make_approximate_query_index(const std::vector<std::string_view>& bank,
                                                               uint64_t hash_seed) {
  return std::make_unique<ApproximateQueryIndex>(bank, hash_seed);
}

}  // namespace uniscale::es3
