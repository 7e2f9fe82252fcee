// One request's candidates: retrieval, the surface's ranker, and the true probabilities behind each
// candidate.
//
// Thread-safety: a ListingMaker has scratch memory and belongs to one thread; World and Calibration are
// shared.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "synth/detail/shopper.h"
#include "synth/detail/world.h"

namespace uniscale::synth {

enum class Domain : uint8_t { Search, Feed, Shop, Ads, CartPage };
inline constexpr int kNumRequestDomains = 4;

struct Listed {
  ItemIndex item = 0;
  bool is_planted = false;  // met in search before
  int32_t position = 0;     // from 1; 0 = not shown
  float score = 0;          // of the surface's ranker
  float click_prob = 0;     // true probability of a click, given that the item is examined
  float purchase_prob = 0;  // of click, cart and purchase, given that the item is examined
  float cart_prob = 0;      // of a cart, given a click
  double bm25 = 0;          // search only
  double click_utility = 0;
  double buy_utility = 0;
};

// Intercepts that make the mean rates those of the options.
struct Calibration {
  std::array<double, kNumRequestDomains> click{};
  double cart = 0;
  double purchase = 0;
};

class ListingMaker {
 public:
  explicit ListingMaker(const World& world);

  // Fills `out` with exactly candidates_per_search candidates by falling score, positions set, utilities set.
  void make_search(const Shopper& shopper, const Need& need, const Query& query, base::Day day,
                   base::RandomStream& random, std::vector<Listed>& out);
  // A feed, shop or ads request in which the `planted` items are shown near the top.
  void make_cross(Domain domain, const Shopper& shopper, const Need& need, std::span<const ItemIndex> planted,
                  base::Day day, base::RandomStream& random, std::vector<Listed>& out);

 private:
  void start();
  bool take(ItemIndex item, base::Day day);
  // Up to `count` new items of `list`, preferring its head by u^skew.
  void take_from(const std::vector<ItemIndex>& list, int count, bool prefer_head, base::Day day,
                 base::RandomStream& random);
  void fill_up(size_t count, int department, base::Day day, base::RandomStream& random);
  void set_utilities(const Shopper& shopper, const Need& need, double match_weight, base::Day day,
                     std::vector<Listed>& out) const;

  const World& world_;
  std::vector<uint32_t> stamps_;  // the listing in which an item was last taken
  uint32_t stamp_ = 0;
  std::vector<ItemIndex> taken_;
};

// Sets the probabilities of every candidate from its utilities.
void set_probabilities(Domain domain, const Calibration& calibration, std::span<Listed> listing);

// Examination probability of a position ≥ 1.
double examination_prob(const Options& options, int32_t position);

// Finds the intercepts on probe requests of the first day; deterministic.
Calibration calibrate(const World& world);

}  // namespace uniscale::synth
