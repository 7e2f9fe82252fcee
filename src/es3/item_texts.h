// What attribution and searchification ask of items: title, category and embedding of the version valid at a
// time, and how similar two versions are (es3.md, preamble and §4). Shared by all buckets of a build;
// thread-safe: title vectors are made once, on first use.
#pragma once

#include <atomic>
#include <memory>
#include <string_view>
#include <vector>

#include "es3/entity_versions.h"
#include "text/similarity.h"

namespace uniscale::es3 {

class ItemTexts {
 public:
  // `items` outlives this. Throws UserError if a column "embedding" is no list of floats.
  ItemTexts(const EntityVersions& items, uint64_t hash_seed, const std::string& file);
  ~ItemTexts();
  ItemTexts(const ItemTexts&) = delete;
  ItemTexts& operator=(const ItemTexts&) = delete;

  // Whether any version that is valid from `ts_ms` or before has a title: later ones are not known then.
  bool has_titles_at(int64_t ts_ms) const { return has_titles_ && first_title_ms_ <= ts_ms; }
  Ref at(std::string_view item_id, int64_t ts_ms) const { return items_.at(item_id, ts_ms); }
  // data() null = null; of Ref::none() too.
  std::string_view title(Ref version) const { return text(titles_, version); }
  std::string_view category(Ref version) const { return text(categories_, version); }
  // Empty if there is no title.
  const text::NgramVector& title_vector(Ref version) const;
  bool has_embeddings() const { return has_embeddings_; }
  // Empty if there is none.
  std::span<const float> embedding(Ref version) const;

 private:
  using VectorSlot = std::atomic<const text::NgramVector*>;
  static std::string_view text(const std::vector<const table::Column*>& columns, Ref version);

  const EntityVersions& items_;
  const uint64_t hash_seed_;
  bool has_titles_ = false;
  int64_t first_title_ms_ = 0;  // of has_titles_
  bool has_embeddings_ = false;
  std::vector<const table::Column*> titles_, categories_, embeddings_;
  std::vector<size_t> first_slot_;  // by table
  mutable std::vector<VectorSlot> vectors_;
};

// How similar items are to one positive, largest first: a number that orders like the cosine, and whether it
// reaches a threshold. Cosine of embeddings if both have one (of equal length), else of title vectors if both
// have a title, else 1 for the same category and 0 otherwise. Not thread-safe.
class ItemSimilarity {
 public:
  ItemSimilarity(const ItemTexts& items, double threshold);
  void set_positive(Ref version);
  struct Score {
    double order = 0;  // cos², with the sign of cos: equal cosines of counts give equal numbers
    bool reaches = false;
  };
  Score of(Ref version) const;

 private:
  const ItemTexts& items_;
  const double threshold_;
  const text::CosineThreshold title_threshold_;  // the same
  Ref positive_;
  std::span<const float> embedding_;           // of the positive
  const text::NgramVector* vector_ = nullptr;  // of its title
  std::vector<int32_t> counts_;                // of the positive's title, by dimension
};

}  // namespace uniscale::es3
