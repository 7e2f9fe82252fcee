#include "synth/detail/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "synth/detail/portable_math.h"
#include "synth/detail/words.h"

namespace uniscale::synth {
namespace {

using base::RandomStream;

void normalise(float* row, int num_factors) {
  double square = 0;
  for (int k = 0; k < num_factors; ++k) square += static_cast<double>(row[k]) * row[k];
  const double scale = square > 0 ? 1.0 / std::sqrt(square) : 0.0;
  for (int k = 0; k < num_factors; ++k) row[k] = static_cast<float>(row[k] * scale);
}

// Random rows of length 1, [rows, K].
std::vector<float> unit_rows(RandomStream& random, size_t rows, int num_factors) {
  std::vector<float> out(rows * static_cast<size_t>(num_factors));
  for (float& value : out) value = static_cast<float>(draw_normal(random));
  for (size_t row = 0; row < rows; ++row)
    normalise(&out[row * static_cast<size_t>(num_factors)], num_factors);
  return out;
}

// rank^-exponent by a random ranking, summing to 1.
std::vector<double> zipf_weights(RandomStream& random, size_t count, double exponent) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  std::vector<double> weights(count);
  double sum = 0;
  for (size_t rank = 0; rank < count; ++rank) {
    weights[order[rank]] = exp_of(-exponent * log_of(static_cast<double>(rank + 1)));
    sum += weights[order[rank]];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

std::vector<double> cumulative_of(const std::vector<double>& weights) {
  std::vector<double> out(weights.size());
  std::partial_sum(weights.begin(), weights.end(), out.begin());
  return out;
}

std::vector<double> idf_of(const std::vector<int64_t>& df, int64_t num_items) {
  std::vector<double> out;
  for (int64_t count : df)
    out.push_back(log_of(static_cast<double>(num_items + 1) / static_cast<double>(count + 1)));
  return out;
}

}  // namespace

uint64_t seed_of(uint64_t seed, Purpose purpose) {
  return base::mix64(base::mix64(seed) ^ static_cast<uint64_t>(purpose));
}

float dot_product(const float* a, const float* b, int num_factors) {
  std::array<float, 8> sums{};
  for (int k = 0; k < num_factors; k += 8) {
    for (int j = 0; j < 8; ++j) sums[static_cast<size_t>(j)] += a[k + j] * b[k + j];
  }
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

int draw_index(const std::vector<double>& cumulative, double u) {
  const auto it = std::upper_bound(cumulative.begin(), cumulative.end(), u * cumulative.back());
  return static_cast<int>(
      std::min<std::ptrdiff_t>(it - cumulative.begin(), static_cast<std::ptrdiff_t>(cumulative.size()) - 1));
}

World::World(const Options& options, base::Day first_day)
    : options_(options), first_day_(first_day), num_factors_(static_cast<int>(options.num_factors)) {
  make_categories();
  make_factors();
  make_items();
  change_items();
  rank_items();
  index_items();
}

void World::make_categories() {
  std::map<std::string_view, int> numbers;
  for (const LeafWords& words : leaf_words()) {
    const auto [it, is_new] = numbers.try_emplace(words.department, static_cast<int>(numbers.size()));
    if (is_new) departments_.emplace_back();
    Leaf leaf;
    leaf.department = it->second;
    leaf.path = fmt::format("{}/{}", words.department, words.leaf);
    leaf.log_price = log_of(words.typical_price);
    leaf.first_noun = static_cast<int>(nouns_.size());
    leaf.num_nouns = static_cast<int>(words.nouns.size());
    leaf.materials = materials_of(words.department);
    nouns_.insert(nouns_.end(), words.nouns.begin(), words.nouns.end());
    departments_[static_cast<size_t>(it->second)].push_back(static_cast<int>(leaves_.size()));
    leaves_.push_back(std::move(leaf));
  }
  RandomStream random(seed_of(seed(), Purpose::Words), 0);
  brands_ = brand_names(options_.num_brands, random);
  leaf_weights_ = zipf_weights(random, leaves_.size(), options_.query_popularity_exponent);
  adjective_cumulative_ =
      cumulative_of(zipf_weights(random, adjectives().size(), options_.query_popularity_exponent));
}

void World::make_factors() {
  RandomStream random(seed_of(seed(), Purpose::Factors), 0);
  const auto width = static_cast<size_t>(num_factors_);
  department_factors_ = unit_rows(random, departments_.size(), num_factors_);
  leaf_factors_ = unit_rows(random, leaves_.size(), num_factors_);
  for (size_t leaf = 0; leaf < leaves_.size(); ++leaf) {
    const size_t department = static_cast<size_t>(leaves_[leaf].department);
    for (size_t k = 0; k < width; ++k)
      leaf_factors_[leaf * width + k] += department_factors_[department * width + k];
    normalise(&leaf_factors_[leaf * width], num_factors_);
  }
  adjective_factors_ = unit_rows(random, adjectives().size(), num_factors_);
  material_factors_ = unit_rows(random, materials().size(), num_factors_);
  brand_factors_ = unit_rows(random, brands_.size(), num_factors_);
  segment_factors_ = unit_rows(random, kNumSegments, num_factors_);
  for (size_t brand = 0; brand < brands_.size(); ++brand) {
    const double standing = draw_normal(random);
    brand_quality_.push_back(static_cast<float>(0.5 * standing));
    brand_log_price_.push_back(static_cast<float>(0.25 * standing + 0.15 * draw_normal(random)));
  }
}

void World::make_items() {
  const auto num_items = static_cast<size_t>(options_.num_items);
  const auto width = static_cast<size_t>(num_factors_);
  items_.resize(num_items);
  factors_.resize(num_items * width);
  id_width_ = std::max<size_t>(4, fmt::formatted_size("{}", num_items - 1) + 1);
  item_ids_.reserve(num_items * id_width_);
  const std::vector<double> leaf_cumulative = cumulative_of(leaf_weights_);
  for (size_t i = 0; i < num_items; ++i) {
    item_ids_ += fmt::format("i{:0{}}", i, id_width_ - 1);
    RandomStream random(seed_of(seed(), Purpose::Items), i);
    Item& item = items_[i];
    // Every leaf has its share of the range; popular leaves have more.
    const int leaf = random.bernoulli(0.5) ? static_cast<int>(random.below(leaves_.size()))
                                           : draw_index(leaf_cumulative, random.uniform());
    const Leaf& words = leaves_[static_cast<size_t>(leaf)];
    item.leaf = static_cast<uint16_t>(leaf);
    item.noun = static_cast<uint16_t>(words.first_noun +
                                      static_cast<int>(random.below(static_cast<uint64_t>(words.num_nouns))));
    item.adjective = static_cast<uint16_t>(random.below(adjectives().size()));
    item.material = static_cast<uint16_t>(words.materials[random.below(words.materials.size())]);
    item.brand = static_cast<uint32_t>(random.below(brands_.size()));
    item.quality = static_cast<float>((brand_quality_[item.brand] + draw_normal(random)) / 1.118);
    item.log_price = static_cast<float>(words.log_price + options_.price_spread * draw_normal(random) +
                                        brand_log_price_[item.brand] + 0.1 * item.quality);
    const double seen = 3.9 + 0.55 * item.quality + 0.35 * draw_normal(random);
    item.rating = static_cast<float>(std::floor(std::clamp(seen, 1.0, 5.0) * 10.0 + 0.5) / 10.0);
    float* row = &factors_[i * width];
    for (size_t k = 0; k < width; ++k) {
      row[k] = static_cast<float>(0.5 * leaf_factors_[static_cast<size_t>(leaf) * width + k] +
                                  0.6 * adjective_factors_[item.adjective * width + k] +
                                  0.5 * material_factors_[item.material * width + k] +
                                  0.4 * brand_factors_[item.brand * width + k] +
                                  0.5 * draw_normal(random) / std::sqrt(static_cast<double>(num_factors_)));
    }
    normalise(row, num_factors_);
  }
}

void World::rank_items() {
  const size_t num_items = items_.size();
  const double correlation = options_.popularity_quality_correlation;
  const double rest = std::sqrt(1.0 - correlation * correlation);
  std::vector<double> standing(num_items);
  for (size_t i = 0; i < num_items; ++i) {
    RandomStream random(seed_of(seed(), Purpose::Items), i, 1);
    standing[i] = correlation * items_[i].quality + rest * draw_normal(random);
  }
  by_popularity_.resize(num_items);
  std::iota(by_popularity_.begin(), by_popularity_.end(), ItemIndex{0});
  std::sort(by_popularity_.begin(), by_popularity_.end(), [&](ItemIndex a, ItemIndex b) {
    const bool a_is_new = items_[a].launch_day != kEverDay, b_is_new = items_[b].launch_day != kEverDay;
    if (a_is_new != b_is_new) return b_is_new;  // nobody knows the new ones yet
    return standing[a] != standing[b] ? standing[a] > standing[b] : a < b;
  });
  // log(rank^-s), standardised over the items.
  std::vector<double> log_prior(num_items);
  double sum = 0, sum_squares = 0;
  for (size_t rank = 0; rank < num_items; ++rank) {
    log_prior[rank] = -options_.item_popularity_exponent * log_of(static_cast<double>(rank + 1));
    sum += log_prior[rank];
    sum_squares += log_prior[rank] * log_prior[rank];
  }
  const double mean = sum / static_cast<double>(num_items);
  const double stddev = std::sqrt(std::max(sum_squares / static_cast<double>(num_items) - mean * mean, 0.0));
  for (size_t rank = 0; rank < num_items; ++rank) {
    Item& item = items_[by_popularity_[rank]];
    const double standardised = stddev > 1e-9 ? (log_prior[rank] - mean) / stddev : 0.0;
    item.popularity = static_cast<float>(std::floor(standardised * 1000.0 + 0.5) / 1000.0);
    const double num_ratings = static_cast<double>(num_items) * 0.5 * exp_of(log_prior[rank]);
    item.num_ratings = item.launch_day == kEverDay ? static_cast<int64_t>(num_ratings) : 0;
  }
}

void World::change_items() {
  const auto span = static_cast<uint64_t>(options_.days);
  for (size_t i = 0; i < items_.size(); ++i) {
    RandomStream random(seed_of(seed(), Purpose::Changes), i);
    Item& item = items_[i];
    const double launch = random.uniform(), change = random.uniform();
    const int32_t launch_offset = 1 + static_cast<int32_t>(random.below(std::max<uint64_t>(span - 1, 1)));
    const int32_t change_offset = 1 + static_cast<int32_t>(random.below(std::max<uint64_t>(span - 1, 1)));
    const double factor = random.bernoulli(0.7) ? -0.25 : 0.15;  // a cut more often than a rise
    if (launch < options_.new_item_share) item.launch_day = first_day_.number + launch_offset;
    const int32_t change_day = first_day_.number + change_offset;
    if (change < options_.price_change_share && change_day > item.launch_day) {
      item.change_day = change_day;
      item.changed_log_price = static_cast<float>(item.log_price + factor);
    }
  }
}

void World::index_items() {
  std::vector<int64_t> noun_df(nouns_.size()), adjective_df(adjectives().size()),
      material_df(materials().size()), brand_df(brands_.size());
  for (Leaf& leaf : leaves_) {
    leaf.by_noun.resize(static_cast<size_t>(leaf.num_nouns));
    leaf.by_adjective.resize(adjectives().size());
    leaf.by_material.resize(materials().size());
  }
  for (ItemIndex index : by_popularity_) {
    const Item& item = items_[index];
    Leaf& leaf = leaves_[item.leaf];
    leaf.items.push_back(index);
    leaf.by_noun[static_cast<size_t>(item.noun - leaf.first_noun)].push_back(index);
    leaf.by_adjective[item.adjective].push_back(index);
    leaf.by_material[item.material].push_back(index);
    ++noun_df[item.noun];
    ++adjective_df[item.adjective];
    ++material_df[item.material];
    ++brand_df[item.brand];
  }
  noun_idf_ = idf_of(noun_df, options_.num_items);
  adjective_idf_ = idf_of(adjective_df, options_.num_items);
  material_idf_ = idf_of(material_df, options_.num_items);
  brand_idf_ = idf_of(brand_df, options_.num_items);
}

std::string World::title(ItemIndex index) const {
  const Item& item = items_[index];
  return fmt::format("{} {} {} {} {}", brands_[item.brand], model_name(index), adjectives()[item.adjective],
                     materials()[item.material], nouns_[item.noun]);
}

double World::price_at(ItemIndex index, int32_t day) const {
  return std::max(std::floor(exp_of(items_[index].log_price_at(day)) * 100.0 + 0.5) / 100.0, 0.01);
}

std::vector<table::Table> World::item_tables(const schema::LogSchema& schema) const {
  std::vector<table::Table> tables;
  logstore::ItemsBuilder builder(schema);
  using logstore::FeatureValue;
  const auto push = [&](ItemIndex index, int64_t ts_ms, int32_t day) {
    const Item& item = items_[index];
    const std::string text = title(index);
    builder.push(
        {.item_id = item_id(index),
         .ts_ms = ts_ms,
         .title = text,
         .category = leaves_[item.leaf].path,
         .features = {FeatureValue::of(std::string_view(brands_[item.brand])),
                      FeatureValue::of(item.num_ratings), FeatureValue::of(price_at(index, day)),
                      FeatureValue::of(std::floor(static_cast<double>(item.rating) * 10.0 + 0.5) / 10.0)},
         .embedding = {}});
    if (builder.num_rows() >= logstore::kRowGroupRows) tables.push_back(builder.finish());
  };
  for (ItemIndex index = 0; index < num_items(); ++index) {  // ids have one width: index order is byte order
    const Item& item = items_[index];
    const bool is_new = item.launch_day != kEverDay;
    push(index, is_new ? base::Day{item.launch_day}.begin_ms() : logstore::kEver,
         is_new ? item.launch_day : first_day_.number);
    if (item.change_day != kNeverDay) push(index, base::Day{item.change_day}.begin_ms(), item.change_day);
  }
  if (builder.num_rows() > 0) tables.push_back(builder.finish());
  return tables;
}

}  // namespace uniscale::synth
