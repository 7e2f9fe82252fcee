#include "es3/item_texts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "logstore/logstore.h"

namespace uniscale::es3 {

ItemTexts::ItemTexts(const EntityVersions& items, uint64_t hash_seed, const std::string& file)
    : items_(items), hash_seed_(hash_seed) {
  titles_ = items.column("title");
  categories_ = items.column("category");
  embeddings_ = items.column("embedding");
  const std::vector<const table::Column*> valid_from = items.column("ts_ms");
  size_t num_versions = 0;
  for (size_t i = 0; i < titles_.size(); ++i) {
    // The log store writes the column always: a store without titles is one where no version has any.
    for (int64_t row = 0; titles_[i] != nullptr && row < titles_[i]->length(); ++row) {
      if (!titles_[i]->is_valid(row)) continue;
      const int64_t ts_ms =
          valid_from[i]->is_valid(row) ? valid_from[i]->int64s()[static_cast<size_t>(row)] : logstore::kEver;
      first_title_ms_ = has_titles_ ? std::min(first_title_ms_, ts_ms) : ts_ms;
      has_titles_ = true;
    }
    first_slot_.push_back(num_versions);
    num_versions += static_cast<size_t>(items.num_rows(static_cast<int32_t>(i)));
    const table::Column* embedding = embeddings_[i];
    has_embeddings_ = has_embeddings_ || embedding != nullptr;
    US_REQUIRE(embedding == nullptr || (embedding->type() == table::Type::List &&
                                        embedding->child(0).type() == table::Type::Float),
               fmt::format("{}: embedding: expected a list of float, got {}", file,
                           embedding == nullptr ? "" : table::type_name(embedding->type())));
  }
  vectors_ = std::vector<VectorSlot>(num_versions);
}

ItemTexts::~ItemTexts() {
  for (const VectorSlot& slot : vectors_) delete slot.load();
}

std::string_view ItemTexts::text(const std::vector<const table::Column*>& columns, Ref version) {
  if (version.source < 0) return {};
  const table::Column* column = columns[static_cast<size_t>(version.source)];
  return column == nullptr ? std::string_view() : column->string(version.row);
}

const text::NgramVector& ItemTexts::title_vector(Ref version) const {
  static const text::NgramVector none;
  const std::string_view words = title(version);
  if (words.empty()) return none;
  VectorSlot& slot =
      vectors_[first_slot_[static_cast<size_t>(version.source)] + static_cast<size_t>(version.row)];
  if (const text::NgramVector* made = slot.load(std::memory_order_acquire)) return *made;
  auto fresh = std::make_unique<const text::NgramVector>(text::ngram_vector(words, hash_seed_));
  const text::NgramVector* expected = nullptr;
  // Two threads may make the same vector; the first one stays.
  if (slot.compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel)) return *fresh.release();
  return *expected;
}

std::span<const float> ItemTexts::embedding(Ref version) const {
  if (!has_embeddings_ || version.source < 0) return {};
  const table::Column* column = embeddings_[static_cast<size_t>(version.source)];
  if (column == nullptr || !column->is_valid(version.row)) return {};
  const int64_t begin = column->list_begin(version.row);
  return column->child(0).floats().subspan(static_cast<size_t>(begin),
                                           static_cast<size_t>(column->list_end(version.row) - begin));
}

ItemSimilarity::ItemSimilarity(const ItemTexts& items, double threshold)
    : items_(items),
      threshold_(threshold),
      title_threshold_(threshold),
      counts_(size_t{1} << text::kNgramBits, 0) {}

void ItemSimilarity::set_positive(Ref version) {
  if (vector_ != nullptr) {
    for (const text::NgramCount& one : vector_->counts) counts_[one.dimension] = 0;
  }
  positive_ = version;
  embedding_ = items_.embedding(version);
  vector_ = &items_.title_vector(version);
  for (const text::NgramCount& one : vector_->counts) counts_[one.dimension] = one.count;
}

ItemSimilarity::Score ItemSimilarity::of(Ref version) const {
  const std::span<const float> mine = embedding_;
  const std::span<const float> other = mine.empty() ? mine : items_.embedding(version);
  if (!mine.empty() && mine.size() == other.size()) {
    double product = 0, mine_norm = 0, other_norm = 0;
    for (size_t i = 0; i < mine.size(); ++i) {
      const double a = mine[i], b = other[i];
      product += a * b;
      mine_norm += a * a;
      other_norm += b * b;
    }
    if (mine_norm == 0 || other_norm == 0) return {0, threshold_ <= 0};
    const double squared = product * product / other_norm / mine_norm;
    const double order = product < 0 ? -squared : squared;
    return {order, threshold_ <= 0 ? order >= 0 : product > 0 && squared >= threshold_ * threshold_};
  }
  if (items_.title(positive_).data() != nullptr && items_.title(version).data() != nullptr) {
    const text::NgramVector& vector = items_.title_vector(version);
    if (vector.squared_norm == 0 || vector_->squared_norm == 0) return {0, threshold_ <= 0};
    int64_t sum = 0;
    for (const text::NgramCount& one : vector.counts)
      sum += static_cast<int64_t>(one.count) * counts_[one.dimension];
    const auto product = static_cast<double>(sum);
    const auto mine_norm = static_cast<double>(vector_->squared_norm);
    const auto other_norm = static_cast<double>(vector.squared_norm);
    return {product * product / other_norm / mine_norm,
            title_threshold_.is_reached(sum, vector_->squared_norm, vector.squared_norm)};
  }
  const std::string_view category = items_.category(positive_);
  const double same = category.data() != nullptr && items_.category(version).data() != nullptr &&
                      category == items_.category(version);
  return {same, same >= threshold_};
}

}  // namespace uniscale::es3
