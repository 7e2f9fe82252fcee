// `[synth]`: the marketplace's options, and the schema that its logs have. docs/synth.md explains the causal
// model behind them. Values; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/config.h"
#include "schema/log_schema.h"

namespace uniscale::synth {

struct Options {
  std::string store = "store";
  std::string first_day = "2026-03-01";
  int64_t days = 7;
  int64_t seed = 1;

  // The shop.
  int64_t num_items = 20'000;
  int64_t num_brands = 120;
  int64_t num_factors = 16;
  double item_popularity_exponent = 0.8;
  double popularity_quality_correlation = 0.5;
  double price_spread = 0.5;
  double price_change_share = 0.1;
  double new_item_share = 0.05;

  // The people.
  int64_t num_users = 2'000;
  double anonymous_rate = 0.05;
  double activity_spread = 0.7;
  double own_taste_share = 0.6;
  int64_t needs_per_week = 2;
  double need_search_rate = 0.7;
  double query_popularity_exponent = 0.7;

  // What they want: weights of the utility.
  double utility_taste = 0.8;
  double utility_match = 1.0;
  double utility_quality = 0.5;
  double utility_price = 0.8;
  double utility_residual = 0.5;
  double familiarity = 0.8;

  // Search.
  double searches_per_user_day = 1.5;
  int64_t candidates_per_search = 200;
  double retrieval_noise_share = 0.1;
  double attribute_word_rate = 0.6;
  double brand_word_rate = 0.1;
  int64_t page_size = 10;
  int64_t max_pages = 5;
  double next_page_rate = 0.35;

  // The production ranker.
  double ranker_match = 1.0;
  double ranker_popularity = 0.7;
  double ranker_quality = 0.3;
  double ranker_noise = 0.5;

  // From shown to bought.
  double examination_decay = 0.5;
  double examination_floor = 0.05;
  double click_rate = 0.15;
  double cart_rate = 0.25;
  double purchase_rate = 0.4;
  base::Duration purchase_delay_mean{15 * base::kMinuteMs};

  // The other domains.
  double feed_requests_per_user_day = 2.0;
  double shop_requests_per_user_day = 0.7;
  double ads_requests_per_user_day = 1.0;
  int64_t feed_exposed = 20;
  int64_t shop_exposed = 20;
  int64_t ads_exposed = 4;
  int64_t cross_unexposed = 10;
  double feed_click_rate = 0.08;
  double shop_click_rate = 0.1;
  double ads_click_rate = 0.03;

  // Met in search, done elsewhere.
  double remeet_rate = 0.5;
  double unexposed_meet_rate = 0.1;
  double later_purchase_rate = 0.1;
  base::Duration later_delay_median{10 * base::kHourMs};
  double later_delay_spread = 1.2;
  base::Duration later_delay_max{7 * base::kDayMs};

  // The log's own defects.
  double requestless_rate = 0.05;
  double duplicate_rate = 0.01;
  double late_rate = 0.03;
  base::Duration late_delay_mean{3 * base::kHourMs};
};

const config::Section<Options>& section();

// Throws UserError naming the keys if values that are allowed one by one do not go together (candidates
// without items to fill them, more shown than retrieved, a broken first_day).
void check_options(const Options& options);

// The `[schema]` that a configuration must declare for synth: context, candidate, item and user columns.
schema::SchemaOptions synth_schema();
// History sequences that suit the marketplace; a proposal, synth itself does not read them.
std::vector<schema::SequenceOptions> synth_sequences();

// Throws UserError naming the first column in which `schema` differs from synth_schema(); buckets, hash seed
// and the search domain's name are free (but no cross domain's).
void require_synth_schema(const schema::LogSchema& schema);

// Domains besides the search domain. Events on the cart page have no request.
inline constexpr const char* kFeed = "feed";
inline constexpr const char* kShop = "shop";
inline constexpr const char* kAds = "ads";
inline constexpr const char* kCartPage = "cart_page";

}  // namespace uniscale::synth
