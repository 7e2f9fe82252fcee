#include "synth/detail/shopper.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "synth/detail/portable_math.h"
#include "synth/detail/words.h"

namespace uniscale::synth {
namespace {

// Where a segment leans: budget, and weights of the five age groups.
struct SegmentLeaning {
  double budget;
  std::array<double, kNumAgeGroups> ages;
};
constexpr std::array<SegmentLeaning, kNumSegments> kLeanings = {{
    {-0.45, {3, 2, 2, 1, 1}},     // bargain
    {0.05, {0.5, 1, 2, 3, 3}},    // classic
    {-0.1, {0.3, 2, 4, 1, 0.5}},  // family
    {0.1, {0.5, 1.5, 3, 2, 1}},   // home
    {0.6, {0.3, 1, 2, 2.5, 1}},   // premium
    {0.0, {3, 3, 2, 1, 0.3}},     // sport
}};

Need draw_wish(const World& world, const Shopper& shopper, base::RandomStream& random) {
  Need need;
  need.leaf = draw_index(shopper.leaf_cumulative, random.uniform());
  const Leaf& leaf = world.leaves()[static_cast<size_t>(need.leaf)];
  const double u = random.uniform();  // first nouns of a leaf are its usual words
  need.noun = leaf.first_noun + static_cast<int>(u * std::sqrt(u) * leaf.num_nouns);
  need.adjective = draw_index(world.adjective_cumulative(), random.uniform());
  need.material = leaf.materials[random.below(leaf.materials.size())];
  const double wants_brand = random.uniform(), which = random.uniform();
  if (wants_brand < world.options().brand_word_rate) {
    need.brand = static_cast<int64_t>(which * which * static_cast<double>(world.options().num_brands));
  }
  return need;
}

}  // namespace

std::string_view device_name(int device) {
  static constexpr std::array<std::string_view, kNumDevices> kNames = {"phone", "desktop", "tablet"};
  return kNames[static_cast<size_t>(device)];
}

double activity_of(const World& world, VisitorIndex index) {
  const double spread = world.options().activity_spread;
  base::RandomStream random(seed_of(world.seed(), Purpose::Users), index, 1);
  return exp_of(spread * draw_normal(random) - 0.5 * spread * spread);
}

Shopper draw_shopper(const World& world, VisitorIndex index) {
  base::RandomStream random(seed_of(world.seed(), Purpose::Users), index);
  Shopper shopper{.index = index};
  shopper.segment = static_cast<int>(random.below(kNumSegments));
  const SegmentLeaning& leaning = kLeanings[static_cast<size_t>(shopper.segment)];
  std::vector<double> ages(leaning.ages.begin(), leaning.ages.end());
  for (size_t i = 1; i < ages.size(); ++i) ages[i] += ages[i - 1];
  shopper.age_group = draw_index(ages, random.uniform());
  const double device = random.uniform() + 0.08 * shopper.age_group;  // the young on their phones
  shopper.device = device < 0.7 ? 0 : device < 1.1 ? 1 : 2;
  shopper.budget = leaning.budget + 0.3 * draw_normal(random);
  shopper.thrift = exp_of(0.4 * draw_normal(random));

  const int num_factors = world.num_factors();
  const double own = world.options().own_taste_share;
  const double scale = 1.0 / std::sqrt(static_cast<double>(num_factors));
  const float* segment = world.segment_factors(shopper.segment);
  double square = 0;
  for (int k = 0; k < num_factors; ++k) {
    const double value = own * scale * draw_normal(random) + (1 - own) * segment[k];
    shopper.taste.push_back(static_cast<float>(value));
    square += value * value;
  }
  const double norm = square > 0 ? 1.0 / std::sqrt(square) : 0.0;
  for (float& value : shopper.taste) value = static_cast<float>(value * norm);

  double sum = 0;
  const double sharpness = std::sqrt(static_cast<double>(num_factors));
  for (size_t leaf = 0; leaf < world.leaves().size(); ++leaf) {
    const float affinity =
        dot_product(shopper.taste.data(), world.leaf_factors(static_cast<int>(leaf)), num_factors);
    sum += world.leaf_weights()[leaf] * exp_of(sharpness * affinity);
    shopper.leaf_cumulative.push_back(sum);
  }
  return shopper;
}

Need draw_need(const World& world, const Shopper& shopper, base::Day day, base::RandomStream& random) {
  const Options& options = world.options();
  const double u = random.uniform();
  const uint64_t which = random.below(static_cast<uint64_t>(options.needs_per_week));
  if (u >= options.need_search_rate) return draw_wish(world, shopper, random);
  // Weeks turn over on different days for different shoppers.
  const int64_t week = (day.number + static_cast<int64_t>(shopper.index % 7)) / 7;
  base::RandomStream of_week(seed_of(world.seed(), Purpose::Needs), shopper.index,
                             static_cast<uint64_t>(week) * 64 + which);
  return draw_wish(world, shopper, of_week);
}

Query draw_query(const World& world, const Need& need, base::RandomStream& random) {
  const double rate = world.options().attribute_word_rate;
  Query query;
  query.has_adjective = random.bernoulli(rate);
  query.has_material = random.bernoulli(0.6 * rate);
  if (need.brand >= 0) {
    for (char c : world.brand(static_cast<uint32_t>(need.brand))) {
      query.text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    query.text += ' ';
  }
  if (query.has_adjective) (query.text += adjectives()[static_cast<size_t>(need.adjective)]) += ' ';
  if (query.has_material) (query.text += materials()[static_cast<size_t>(need.material)]) += ' ';
  query.text += world.noun(need.noun);
  return query;
}

std::string user_id_of(const World& world, VisitorIndex index) {
  const size_t width = fmt::formatted_size("{}", world.options().num_users - 1);
  return fmt::format("u{:0{}}", index, std::max<size_t>(width, 3));
}

int64_t num_anonymous(const Options& options) {
  const double ratio = options.anonymous_rate / (1.0 - options.anonymous_rate);
  return static_cast<int64_t>(std::floor(static_cast<double>(options.num_users) * ratio + 0.5));
}

}  // namespace uniscale::synth
