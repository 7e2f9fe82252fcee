#include "es3/query_index.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace uniscale::es3 {
namespace {

class ExactQueryIndex final : public QueryIndex {
 public:
  ExactQueryIndex(const std::vector<std::string_view>& bank, uint64_t hash_seed) {
    std::vector<text::NgramVector> vectors;
    vectors.reserve(bank.size());
    for (const std::string_view query : bank) vectors.push_back(text::ngram_vector(query, hash_seed));
    offsets_.assign((size_t{1} << text::kNgramBits) + 1, 0);
    for (const text::NgramVector& vector : vectors) {
      if (first_query_ < 0 && vector.squared_norm > 0)
        first_query_ = static_cast<int32_t>(squared_norms_.size());
      squared_norms_.push_back(vector.squared_norm);
      for (const text::NgramCount& one : vector.counts) ++offsets_[one.dimension + 1];
    }
    std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
    postings_.resize(offsets_.back());
    std::vector<size_t> next(offsets_.begin(), offsets_.end() - 1);
    for (size_t query = 0; query < vectors.size(); ++query) {
      for (const text::NgramCount& one : vectors[query].counts)
        postings_[next[one.dimension]++] = {static_cast<int32_t>(query), one.count};
    }
  }

  std::optional<Found> nearest(const text::NgramVector& title, double floor,
                               Scratch& scratch) const override {
    scratch.dots.resize(squared_norms_.size(), 0);
    for (const text::NgramCount& one : title.counts) {
      for (size_t i = offsets_[one.dimension]; i < offsets_[one.dimension + 1]; ++i) {
        int64_t& dot = scratch.dots[static_cast<size_t>(postings_[i].query)];
        if (dot == 0) scratch.touched.push_back(postings_[i].query);
        dot += static_cast<int64_t>(one.count) * postings_[i].count;
      }
    }
    // dot² / n orders like the cosine, and equal cosines of counts give equal numbers.
    int32_t best = -1;
    double best_order = 0;
    for (const int32_t query : scratch.touched) {
      const auto dot = static_cast<double>(scratch.dots[static_cast<size_t>(query)]);
      const double order = dot * dot / static_cast<double>(squared_norms_[static_cast<size_t>(query)]);
      if (best < 0 || order > best_order || (order == best_order && query < best)) {
        best = query;
        best_order = order;
      }
    }
    // A floor of 0 lets in what shares nothing.
    if (best < 0 && floor <= 0 && title.squared_norm > 0) best = first_query_;
    std::optional<Found> found;
    if (best >= 0) {
      const int64_t dot = scratch.dots[static_cast<size_t>(best)];
      const int64_t squared_norm = squared_norms_[static_cast<size_t>(best)];
      if (text::CosineThreshold(floor).is_reached(dot, title.squared_norm, squared_norm)) {
        found = Found{best, static_cast<double>(dot) / std::sqrt(static_cast<double>(title.squared_norm) *
                                                                 static_cast<double>(squared_norm))};
      }
    }
    for (const int32_t query : scratch.touched) scratch.dots[static_cast<size_t>(query)] = 0;
    scratch.touched.clear();
    return found;
  }

 private:
  struct Posting {
    int32_t query;
    int32_t count;
  };
  std::vector<int64_t> squared_norms_;  // by query
  int32_t first_query_ = -1;            // that has any 3-gram
  std::vector<size_t> offsets_;         // by dimension, into postings_
  std::vector<Posting> postings_;
};

}  // namespace

std::unique_ptr<const QueryIndex> make_exact_query_index(const std::vector<std::string_view>& bank,
                                                         uint64_t hash_seed) {
  return std::make_unique<ExactQueryIndex>(bank, hash_seed);
}

QuerySearch::QuerySearch(const Options& options, const std::vector<std::string_view>& bank,
                         uint64_t hash_seed)
    : floor_(options.ann_floor),
      index_(options.ann_index == "exact" ? make_exact_query_index(bank, hash_seed)
                                          : make_approximate_query_index(bank, hash_seed)),
      embeddings_(options.query_embeddings, bank) {}

std::optional<QueryIndex::Found> QuerySearch::nearest(const text::NgramVector& title,
                                                      std::span<const float> embedding,
                                                      QueryIndex::Scratch& scratch) const {
  return embeddings_.answers(embedding.size()) ? embeddings_.nearest(embedding, floor_)
                                               : index_->nearest(title, floor_, scratch);
}

}  // namespace uniscale::es3
