#include "synth/detail/listing.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "synth/detail/portable_math.h"

namespace uniscale::synth {
namespace {

constexpr double kOtherDepartment = -2.0;
constexpr double kSameDepartment = -0.5;
// How well an item meets a need: category, then the words of the title, also those that were not typed.
double match_of(const World& world, const Need& need, const Item& item) {
  const auto& leaves = world.leaves();
  if (item.leaf != need.leaf) {
    return leaves[item.leaf].department == leaves[static_cast<size_t>(need.leaf)].department
               ? kSameDepartment
               : kOtherDepartment;
  }
  double match = 1.0;
  if (item.noun == need.noun) match += 0.7;
  if (item.adjective == need.adjective) match += 0.6;
  if (item.material == need.material) match += 0.5;
  if (need.brand >= 0 && item.brand == static_cast<uint32_t>(need.brand)) match += 0.8;
  return match;
}

double bm25_of(const World& world, const Need& need, const Query& query, const Item& item) {
  double sum = 0;
  if (item.noun == need.noun) sum += world.noun_idf(need.noun);
  if (query.has_adjective && item.adjective == need.adjective) sum += world.adjective_idf(need.adjective);
  if (query.has_material && item.material == need.material) sum += world.material_idf(need.material);
  if (need.brand >= 0 && item.brand == static_cast<uint32_t>(need.brand)) sum += world.brand_idf(item.brand);
  return std::floor(sum * 1000.0 + 0.5) / 1000.0;
}

// 0 … about 1 for a full match of any query.
double share_matched(const World& world, const Need& need, const Query& query, double bm25) {
  double full = world.noun_idf(need.noun);
  if (query.has_adjective) full += world.adjective_idf(need.adjective);
  if (query.has_material) full += world.material_idf(need.material);
  if (need.brand >= 0) full += world.brand_idf(static_cast<uint32_t>(need.brand));
  return full > 0 ? bm25 / full : 0.0;
}

double rating_signal(const Item& item) { return (item.rating - 3.9) / 0.65; }

void rank(std::vector<Listed>& listing, int num_exposed) {
  std::sort(listing.begin(), listing.end(), [](const Listed& a, const Listed& b) {
    return a.score != b.score ? a.score > b.score : a.item < b.item;
  });
  for (int i = 0; i < static_cast<int>(listing.size()); ++i) {
    listing[static_cast<size_t>(i)].position = i < num_exposed ? i + 1 : 0;
  }
}

}  // namespace

ListingMaker::ListingMaker(const World& world) : world_(world), stamps_(world.num_items(), 0) {}

void ListingMaker::start() {
  taken_.clear();
  if (++stamp_ == 0) {
    std::fill(stamps_.begin(), stamps_.end(), 0);
    stamp_ = 1;
  }
}

bool ListingMaker::take(ItemIndex item, base::Day day) {
  if (stamps_[item] == stamp_ || !world_.is_live(item, day)) return false;
  stamps_[item] = stamp_;
  taken_.push_back(item);
  return true;
}

void ListingMaker::take_from(const std::vector<ItemIndex>& list, int count, bool prefer_head, base::Day day,
                             base::RandomStream& random) {
  const size_t size = list.size();
  if (size == 0) return;
  size_t misses = 0;
  while (count > 0 && misses < size) {
    const double u = random.uniform();
    size_t at = static_cast<size_t>((prefer_head ? u * u : u) * static_cast<double>(size));
    for (misses = 0; misses < size; ++misses) {
      if (take(list[at], day)) break;
      if (++at == size) at = 0;
    }
    --count;
  }
}

void ListingMaker::fill_up(size_t count, int department, base::Day day, base::RandomStream& random) {
  const auto missing = [&] { return static_cast<int>(count) - static_cast<int>(taken_.size()); };
  const std::vector<int>& leaves = world_.department(department);
  for (size_t i = 0; i < leaves.size() && missing() > 0; ++i) {
    const auto leaf = static_cast<size_t>(leaves[random.below(leaves.size())]);
    take_from(world_.leaves()[leaf].items, missing(), true, day, random);
  }
  if (missing() > 0) take_from(world_.by_popularity(), missing(), true, day, random);
  US_CHECK(missing() <= 0, "too few items for a candidate list");
}

void ListingMaker::set_utilities(const Shopper& shopper, const Need& need, double match_weight, base::Day day,
                                 std::vector<Listed>& out) const {
  const Options& options = world_.options();
  const int num_factors = world_.num_factors();
  const double taste_scale = std::sqrt(static_cast<double>(num_factors));
  const uint64_t residual_seed = seed_of(world_.seed(), Purpose::Residual);
  for (Listed& listed : out) {
    const Item& item = world_.item(listed.item);
    const double taste =
        taste_scale * dot_product(shopper.taste.data(), world_.item_factors(listed.item), num_factors);
    const double excess =
        item.log_price_at(day.number) - world_.leaves()[item.leaf].log_price - shopper.budget;
    // Too dear hurts; far below the budget is suspect, a little.
    const double price = excess > 0 ? -shopper.thrift * excess : 0.3 * excess;
    const double residual = bell_of(base::random_u64(residual_seed, shopper.index, listed.item));
    listed.click_utility =
        options.utility_taste * taste + options.utility_match * match_weight * match_of(world_, need, item) +
        options.utility_quality * item.quality + options.utility_price * price +
        options.utility_residual * residual + (listed.is_planted ? options.familiarity : 0.0);
    listed.buy_utility = 0.5 * options.utility_taste * taste + 1.5 * options.utility_quality * item.quality +
                         2.0 * options.utility_price * price;
  }
}

void ListingMaker::make_search(const Shopper& shopper, const Need& need, const Query& query, base::Day day,
                               base::RandomStream& random, std::vector<Listed>& out) {
  const Options& options = world_.options();
  const auto count = static_cast<size_t>(options.candidates_per_search);
  const Leaf& leaf = world_.leaves()[static_cast<size_t>(need.leaf)];
  start();
  const auto share = [&](double part) { return static_cast<int>(part * static_cast<double>(count)); };
  const int by_words = share(1.0 - options.retrieval_noise_share);
  const auto room = [&](int wanted) {
    return std::clamp(by_words - static_cast<int>(taken_.size()), 0, wanted);
  };
  // Words first, the rarer the earlier; then the category; then noise from anywhere.
  if (query.has_adjective)
    take_from(leaf.by_adjective[static_cast<size_t>(need.adjective)], room(share(0.3)), true, day, random);
  if (query.has_material)
    take_from(leaf.by_material[static_cast<size_t>(need.material)], room(share(0.3)), true, day, random);
  take_from(leaf.by_noun[static_cast<size_t>(need.noun - leaf.first_noun)], room(share(0.5)), true, day,
            random);
  take_from(leaf.items, room(by_words), true, day, random);
  while (taken_.size() < count) {
    const size_t before = taken_.size();
    const auto other = random.below(world_.leaves().size());
    take_from(world_.leaves()[other].items, 1 + static_cast<int>(random.below(4)), true, day, random);
    if (taken_.size() == before) break;
  }
  fill_up(count, leaf.department, day, random);
  taken_.resize(count);

  out.clear();
  for (ItemIndex index : taken_) {
    const Item& item = world_.item(index);
    Listed listed{.item = index, .bm25 = bm25_of(world_, need, query, item)};
    double score = options.ranker_match * 3.0 * share_matched(world_, need, query, listed.bm25);
    if (item.leaf == need.leaf) score += options.ranker_match;
    score += options.ranker_popularity * item.popularity + options.ranker_quality * rating_signal(item) +
             options.ranker_noise * bell_of(random.next_u64());
    listed.score = static_cast<float>(score);
    out.push_back(listed);
  }
  int64_t pages = 1;
  while (pages < options.max_pages && random.bernoulli(options.next_page_rate)) ++pages;
  rank(out, static_cast<int>(std::min<int64_t>(pages * options.page_size, static_cast<int64_t>(count))));
  set_utilities(shopper, need, 1.0, day, out);
}

void ListingMaker::make_cross(Domain domain, const Shopper& shopper, const Need& need,
                              std::span<const ItemIndex> planted, base::Day day, base::RandomStream& random,
                              std::vector<Listed>& out) {
  const Options& options = world_.options();
  const int64_t exposed = domain == Domain::Feed   ? options.feed_exposed
                          : domain == Domain::Shop ? options.shop_exposed
                                                   : options.ads_exposed;
  const auto count = static_cast<size_t>(exposed + options.cross_unexposed);
  start();
  for (ItemIndex item : planted) take(item, day);
  const size_t num_planted = taken_.size();
  const auto interest = [&] {
    return static_cast<size_t>(draw_index(shopper.leaf_cumulative, random.uniform()));
  };
  size_t page_leaf = random.bernoulli(0.6) ? static_cast<size_t>(need.leaf) : interest();
  if (num_planted > 0) page_leaf = world_.item(taken_[0]).leaf;
  for (int attempts = 0; taken_.size() < count && attempts < 1000; ++attempts) {
    const int missing = static_cast<int>(count - taken_.size());
    if (domain == Domain::Shop) {
      take_from(world_.leaves()[page_leaf].items, missing, true, day, random);
      break;
    }
    const double u = random.uniform();
    const int few = std::min(missing, 3);
    if (domain == Domain::Feed && u < 0.3) {
      take_from(world_.by_popularity(), few, true, day, random);
    } else if (u < (domain == Domain::Feed ? 0.5 : 0.4)) {
      take_from(world_.leaves()[static_cast<size_t>(need.leaf)].items, few, domain == Domain::Feed, day,
                random);
    } else {
      take_from(world_.leaves()[interest()].items, few, domain == Domain::Feed, day, random);
    }
  }
  fill_up(count, world_.leaves()[page_leaf].department, day, random);
  taken_.resize(count);

  out.clear();
  const double taste_scale = std::sqrt(static_cast<double>(world_.num_factors()));
  for (size_t i = 0; i < taken_.size(); ++i) {
    const Item& item = world_.item(taken_[i]);
    Listed listed{.item = taken_[i], .is_planted = i < num_planted};
    double score = bell_of(random.next_u64());
    if (domain == Domain::Ads) {
      score += 0.3 * item.popularity +
               0.3 * (item.log_price - world_.leaves()[item.leaf].log_price);  // bids follow the margin
    } else {
      score += 0.7 * item.popularity + 0.3 * rating_signal(item);
    }
    if (domain == Domain::Feed) {
      score += 0.4 * taste_scale *
               dot_product(shopper.taste.data(), world_.item_factors(listed.item), world_.num_factors());
    }
    if (listed.is_planted) score += 4.0;
    listed.score = static_cast<float>(score);
    out.push_back(listed);
  }
  rank(out, static_cast<int>(exposed));
  set_utilities(shopper, need, 0.5, day, out);
}

void set_probabilities(Domain domain, const Calibration& calibration, std::span<Listed> listing) {
  const double click = calibration.click[static_cast<size_t>(domain)];
  for (Listed& listed : listing) {
    const double click_prob = sigmoid(click + listed.click_utility);
    const double cart_prob = sigmoid(calibration.cart + listed.buy_utility);
    const double purchase_prob =
        click_prob * cart_prob * sigmoid(calibration.purchase + 0.5 * listed.buy_utility);
    listed.click_prob = static_cast<float>(click_prob);
    listed.cart_prob = static_cast<float>(cart_prob);
    listed.purchase_prob = static_cast<float>(purchase_prob);
  }
}

double examination_prob(const Options& options, int32_t position) {
  const double decayed = exp_of(-options.examination_decay * log_of(static_cast<double>(position)));
  return std::max(options.examination_floor, decayed);
}

namespace {

struct Probe {
  double weight;
  double utility;
};

// The intercept b with mean of sigmoid(b + slope × utility) = rate.
double solve(const std::vector<Probe>& probes, double slope, double rate) {
  double low = -40, high = 40;
  for (int step = 0; step < 60; ++step) {
    const double middle = 0.5 * (low + high);
    double sum = 0, weights = 0;
    for (const Probe& probe : probes) {
      sum += probe.weight * sigmoid(middle + slope * probe.utility);
      weights += probe.weight;
    }
    (sum < rate * weights ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace

Calibration calibrate(const World& world) {
  constexpr int kNumProbes = 1000;
  const Options& options = world.options();
  const std::array<double, kNumRequestDomains> rates = {options.click_rate, options.feed_click_rate,
                                                        options.shop_click_rate, options.ads_click_rate};
  ListingMaker maker(world);
  std::vector<Listed> listing;
  Calibration calibration;
  for (int domain = 0; domain < kNumRequestDomains; ++domain) {
    std::vector<Probe> clicks, carts;
    for (int i = 0; i < kNumProbes; ++i) {
      base::RandomStream random(seed_of(world.seed(), Purpose::Calibration), static_cast<uint64_t>(domain),
                                static_cast<uint64_t>(i));
      const VisitorIndex visitor = random.below(static_cast<uint64_t>(options.num_users));
      const Shopper shopper = draw_shopper(world, visitor);
      const auto day =
          world.first_day().plus(static_cast<int>(random.below(static_cast<uint64_t>(options.days))));
      const Need need = draw_need(world, shopper, day, random);
      if (domain == 0) {
        maker.make_search(shopper, need, draw_query(world, need, random), day, random, listing);
      } else {
        maker.make_cross(static_cast<Domain>(domain), shopper, need, {}, day, random, listing);
      }
      const double activity = activity_of(world, visitor);
      for (const Listed& listed : listing) {
        if (listed.position == 0) continue;
        const double weight = activity * examination_prob(options, listed.position);
        clicks.push_back({weight, listed.click_utility});
        if (domain == 0) carts.push_back({weight, listed.buy_utility});
      }
    }
    const double click = solve(clicks, 1.0, rates[static_cast<size_t>(domain)]);
    calibration.click[static_cast<size_t>(domain)] = click;
    if (domain != 0) continue;
    for (size_t i = 0; i < carts.size(); ++i) carts[i].weight *= sigmoid(click + clicks[i].utility);
    calibration.cart = solve(carts, 1.0, options.cart_rate);
    for (Probe& probe : carts) probe.weight *= sigmoid(calibration.cart + probe.utility);
    calibration.purchase = solve(carts, 0.5, options.purchase_rate);
  }
  return calibration;
}

}  // namespace uniscale::synth
