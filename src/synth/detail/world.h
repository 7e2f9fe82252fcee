// The shop as it is, drawn once from the seed: category tree, words, brands, and items with latent factors,
// quality, price and popularity; inverted lists for retrieval. Immutable once built; thread-safe.
//
// Letters: K latent factors. Item arrays are indexed by item number; `factors` is [num_items, K] and rows
// have length 1.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "logstore/logstore.h"
#include "synth/options.h"

namespace uniscale::synth {

// Independent streams of one seed.
enum class Purpose : uint64_t {
  Words = 1,
  Factors,
  Items,
  Changes,
  Users,
  Needs,
  Visits,
  Listing,
  Behaviour,
  Residual,
  Calibration
};
uint64_t seed_of(uint64_t seed, Purpose purpose);

using ItemIndex = uint32_t;
inline constexpr int32_t kEverDay = std::numeric_limits<int32_t>::min();
inline constexpr int32_t kNeverDay = std::numeric_limits<int32_t>::max();

struct Leaf {
  int department = 0;
  std::string path;  // "Clothing/Coats"
  double log_price = 0;
  int first_noun = 0;  // nouns [first_noun, first_noun + num_nouns) of World::nouns
  int num_nouns = 0;
  std::vector<int> materials;
  std::vector<ItemIndex> items;  // most popular first; so are the lists below
  std::vector<std::vector<ItemIndex>> by_noun;
  std::vector<std::vector<ItemIndex>> by_adjective;
  std::vector<std::vector<ItemIndex>> by_material;
};

struct Item {
  uint16_t leaf = 0;
  uint16_t noun = 0;  // global noun number
  uint16_t adjective = 0;
  uint16_t material = 0;
  uint32_t brand = 0;
  float quality = 0;              // standard normal; hidden
  float popularity = 0;           // log prior, standardised; what the engine knows
  float rating = 0;               // 1 … 5, quality seen through noise; visible
  float log_price = 0;            // until `change_day`
  float changed_log_price = 0;    // from then on
  int32_t launch_day = kEverDay;  // day number from which the item exists
  int32_t change_day = kNeverDay;
  int64_t num_ratings = 0;

  double log_price_at(int32_t day) const { return day >= change_day ? changed_log_price : log_price; }
};

class World {
 public:
  World(const Options& options, base::Day first_day);

  const Options& options() const { return options_; }
  base::Day first_day() const { return first_day_; }
  uint64_t seed() const { return static_cast<uint64_t>(options_.seed); }
  int num_factors() const { return num_factors_; }
  ItemIndex num_items() const { return static_cast<ItemIndex>(items_.size()); }

  const Item& item(ItemIndex index) const { return items_[index]; }
  const float* item_factors(ItemIndex index) const {
    return &factors_[static_cast<size_t>(index) * static_cast<size_t>(num_factors_)];
  }
  std::string_view item_id(ItemIndex index) const {
    return std::string_view(item_ids_).substr(static_cast<size_t>(index) * id_width_, id_width_);
  }
  bool is_live(ItemIndex index, base::Day day) const { return items_[index].launch_day <= day.number; }
  // All items, most popular first.
  const std::vector<ItemIndex>& by_popularity() const { return by_popularity_; }

  const std::vector<Leaf>& leaves() const { return leaves_; }
  // Leaves of a department.
  const std::vector<int>& department(int index) const { return departments_[static_cast<size_t>(index)]; }
  const float* leaf_factors(int leaf) const {
    return &leaf_factors_[static_cast<size_t>(leaf) * static_cast<size_t>(num_factors_)];
  }
  const float* segment_factors(int segment) const {
    return &segment_factors_[static_cast<size_t>(segment) * static_cast<size_t>(num_factors_)];
  }
  // Popularity of leaves and adjectives in needs; sums to 1.
  const std::vector<double>& leaf_weights() const { return leaf_weights_; }
  const std::vector<double>& adjective_cumulative() const { return adjective_cumulative_; }

  std::string_view noun(int index) const { return nouns_[static_cast<size_t>(index)]; }
  const std::string& brand(uint32_t index) const { return brands_[index]; }
  // Inverse document frequency of the title words, log((N + 1) / (df + 1)).
  double noun_idf(int index) const { return noun_idf_[static_cast<size_t>(index)]; }
  double adjective_idf(int index) const { return adjective_idf_[static_cast<size_t>(index)]; }
  double material_idf(int index) const { return material_idf_[static_cast<size_t>(index)]; }
  double brand_idf(uint32_t index) const { return brand_idf_[index]; }
  std::string title(ItemIndex index) const;
  // Price in units of money with two decimals.
  double price_at(ItemIndex index, int32_t day) const;

  // The items table, sorted, in tables of at most `logstore::kRowGroupRows` rows.
  std::vector<table::Table> item_tables(const schema::LogSchema& schema) const;

 private:
  void make_categories();
  void make_factors();
  void make_items();
  void rank_items();
  void change_items();
  void index_items();

  Options options_;
  base::Day first_day_;
  int num_factors_;
  size_t id_width_ = 0;
  std::string item_ids_;
  std::vector<Item> items_;
  std::vector<float> factors_;
  std::vector<ItemIndex> by_popularity_;
  std::vector<Leaf> leaves_;
  std::vector<std::vector<int>> departments_;
  std::vector<std::string_view> nouns_;
  std::vector<std::string> brands_;
  std::vector<float> department_factors_, leaf_factors_, adjective_factors_, material_factors_,
      brand_factors_, segment_factors_;
  std::vector<float> brand_quality_, brand_log_price_;
  std::vector<double> leaf_weights_, adjective_cumulative_;
  std::vector<double> noun_idf_, adjective_idf_, material_idf_, brand_idf_;
};

// a · b over K floats, K a multiple of 8; eight partial sums, so the order of additions is fixed.
float dot_product(const float* a, const float* b, int num_factors);
// The first index whose cumulative weight exceeds u × the last.
int draw_index(const std::vector<double>& cumulative, double u);

}  // namespace uniscale::synth
