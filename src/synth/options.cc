#include "synth/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

#include "base/error.h"

namespace uniscale::synth {
namespace {

constexpr double kMaxDurationMs = 365.0 * base::kDayMs;

config::Rule share() { return {.min = 0, .max = 1}; }
config::Rule weight() { return {.min = 0, .max = 10}; }
config::Rule count(double min, double max) { return {.min = min, .max = max}; }
config::Rule duration() { return {.min = 0, .max = kMaxDurationMs}; }

void add_places(config::Section<Options>& s) {
  s.field("store", &Options::store,
          "folder of the log store to write; empty, missing, or written before with the same options")
      .field("first_day", &Options::first_day, "first day, YYYY-MM-DD")
      .field("days", &Options::days, "number of days", count(1, 3650))
      .field("seed", &Options::seed, "names the world: same options and seed, same bytes", count(0, 9e15));
}

void add_shop(config::Section<Options>& s) {
  s.field("num_items", &Options::num_items, "items of the shop", count(1, 50e6))
      .field("num_brands", &Options::num_brands, "invented brands", count(1, 100'000))
      .field("num_factors", &Options::num_factors, "width of the latent taste space, a multiple of 8",
             count(8, 256))
      .field("item_popularity_exponent", &Options::item_popularity_exponent,
             "Zipf exponent of the popularity that retrieval, ranker and feed know", count(0, 3))
      .field("popularity_quality_correlation", &Options::popularity_quality_correlation,
             "how far popularity follows true quality: 0 not at all, 1 only", share())
      .field("price_spread", &Options::price_spread, "standard deviation of log price inside a category",
             count(0, 3))
      .field("price_change_share", &Options::price_change_share,
             "share of items whose price changes once in the span (a second item version)", share())
      .field("new_item_share", &Options::new_item_share, "share of items that appear after the first day",
             share());
}

void add_people(config::Section<Options>& s) {
  s.field("num_users", &Options::num_users, "users with an id", count(1, 100e6))
      .field("anonymous_rate", &Options::anonymous_rate,
             "share of requests by visitors without an id (null user)", {.min = 0, .max = 0.9})
      .field("activity_spread", &Options::activity_spread, "standard deviation of log activity over users",
             count(0, 2))
      .field("own_taste_share", &Options::own_taste_share,
             "how much of a taste is the user's own and not their segment's", share())
      .field("needs_per_week", &Options::needs_per_week, "things that a user looks for in a week",
             count(1, 20))
      .field("need_search_rate", &Options::need_search_rate,
             "share of searches that follow a need of the week; the rest are passing wishes", share())
      .field("query_popularity_exponent", &Options::query_popularity_exponent,
             "Zipf exponent of category and attribute popularity in needs", count(0, 3));
}

void add_utility(config::Section<Options>& s) {
  s.field("utility_taste", &Options::utility_taste, "weight of taste · item factors", weight())
      .field("utility_match", &Options::utility_match, "weight of how the item meets the need", weight())
      .field("utility_quality", &Options::utility_quality, "weight of true quality", weight())
      .field("utility_price", &Options::utility_price, "weight of price against budget", weight())
      .field("utility_residual", &Options::utility_residual,
             "weight of a fixed liking per user and item that no feature shows", weight())
      .field("familiarity", &Options::familiarity,
             "utility added to an item that the user meets again after search", weight());
}

void add_search(config::Section<Options>& s) {
  s.field("searches_per_user_day", &Options::searches_per_user_day, "mean search requests", count(0, 1000))
      .field("candidates_per_search", &Options::candidates_per_search, "candidates retrieved, exactly",
             count(1, 10'000))
      .field("retrieval_noise_share", &Options::retrieval_noise_share,
             "share of candidates from other categories", share())
      .field("attribute_word_rate", &Options::attribute_word_rate,
             "probability that an attribute of the need is typed; the rest stays hidden", share())
      .field("brand_word_rate", &Options::brand_word_rate, "probability that a need names a brand", share())
      .field("page_size", &Options::page_size, "candidates shown on a page", count(1, 1000))
      .field("max_pages", &Options::max_pages, "pages of a search at most", count(1, 100))
      .field("next_page_rate", &Options::next_page_rate, "probability of asking for the next page", share())
      .field("ranker_match", &Options::ranker_match, "production ranker: weight of text match", weight())
      .field("ranker_popularity", &Options::ranker_popularity,
             "production ranker: weight of popularity (its bias)", weight())
      .field("ranker_quality", &Options::ranker_quality, "production ranker: weight of the visible rating",
             weight())
      .field("ranker_noise", &Options::ranker_noise, "production ranker: standard deviation of its noise",
             weight());
}

void add_behaviour(config::Section<Options>& s) {
  s.field("examination_decay", &Options::examination_decay,
          "examination probability of position p = max(floor, p^-decay), p from 1", count(0, 5))
      .field("examination_floor", &Options::examination_floor, "least examination probability", share())
      .field("click_rate", &Options::click_rate, "search: mean click probability of an examined item",
             {.min = 0.001, .max = 0.95})
      .field("cart_rate", &Options::cart_rate, "mean cart probability of a click",
             {.min = 0.001, .max = 0.95})
      .field("purchase_rate", &Options::purchase_rate, "mean purchase probability of a cart",
             {.min = 0.001, .max = 0.95})
      .field("purchase_delay_mean", &Options::purchase_delay_mean, "mean time from cart to purchase",
             duration());
}

void add_cross(config::Section<Options>& s) {
  const config::Rule rate{.min = 0.001, .max = 0.95};
  s.field("feed_requests_per_user_day", &Options::feed_requests_per_user_day, "mean feed requests",
          count(0, 1000))
      .field("shop_requests_per_user_day", &Options::shop_requests_per_user_day, "mean shop pages",
             count(0, 1000))
      .field("ads_requests_per_user_day", &Options::ads_requests_per_user_day, "mean ad slots",
             count(0, 1000))
      .field("feed_exposed", &Options::feed_exposed, "items shown by a feed request", count(1, 1000))
      .field("shop_exposed", &Options::shop_exposed, "items shown by a shop page", count(1, 1000))
      .field("ads_exposed", &Options::ads_exposed, "items shown by an ad slot", count(1, 1000))
      .field("cross_unexposed", &Options::cross_unexposed, "candidates of those requests that are not shown",
             count(0, 1000))
      .field("feed_click_rate", &Options::feed_click_rate, "feed: mean click probability of an examined item",
             rate)
      .field("shop_click_rate", &Options::shop_click_rate, "shop: mean click probability of an examined item",
             rate)
      .field("ads_click_rate", &Options::ads_click_rate, "ads: mean click probability of an examined item",
             rate);
}

void add_later(config::Section<Options>& s) {
  s.field("remeet_rate", &Options::remeet_rate,
          "an examined, unbought search item is shown again elsewhere with this × its click probability",
          share())
      .field("unexposed_meet_rate", &Options::unexposed_meet_rate,
             "an unexposed search candidate is shown elsewhere with this × its click probability", share())
      .field("later_purchase_rate", &Options::later_purchase_rate,
             "an item clicked in search and not bought there is bought later on the cart page with this "
             "probability",
             share())
      .field("later_delay_median", &Options::later_delay_median, "median delay of these, lognormal",
             {.min = 1, .max = kMaxDurationMs})
      .field("later_delay_spread", &Options::later_delay_spread, "standard deviation of the log delay",
             count(0, 5))
      .field("later_delay_max", &Options::later_delay_max, "a longer delay never happens", duration());
}

void add_defects(config::Section<Options>& s) {
  s.field("requestless_rate", &Options::requestless_rate, "share of events whose request_id the log lost",
          share())
      .field("duplicate_rate", &Options::duplicate_rate,
             "share of events logged twice, the copy under an id of its own within 2 s", share())
      .field("late_rate", &Options::late_rate,
             "share of events that the log learns of late (known_ms > ts_ms)", share())
      .field("late_delay_mean", &Options::late_delay_mean, "mean lateness of those, exponential", duration());
}

std::string column_texts(const std::vector<schema::DeclaredColumn>& columns) {
  std::string text;
  for (const auto& column : columns) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{} = \"{}\"", column.name, schema::value_type_name(column.type));
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace

const config::Section<Options>& section() {
  static const auto built = [] {
    config::Section<Options> s("synth", "A seeded marketplace that writes a log store");
    add_places(s);
    add_shop(s);
    add_people(s);
    add_utility(s);
    add_search(s);
    add_behaviour(s);
    add_cross(s);
    add_later(s);
    add_defects(s);
    return s;
  }();
  return built;
}

void check_options(const Options& options) {
  US_REQUIRE(!options.store.empty(), "synth.store: expected a folder, got \"\"");
  const std::optional<base::Day> first_day = base::parse_day(options.first_day);
  US_REQUIRE(
      first_day && *first_day >= base::parse_day("1970-01-01") && *first_day <= base::parse_day("2199-12-31"),
      fmt::format("synth.first_day: expected a day in 1970-01-01 … 2199-12-31, got \"{}\"",
                  options.first_day));
  US_REQUIRE(options.num_factors % 8 == 0,
             fmt::format("synth.num_factors: expected a multiple of 8, got {}", options.num_factors));
  const int64_t cross =
      std::max({options.feed_exposed, options.shop_exposed, options.ads_exposed}) + options.cross_unexposed;
  const int64_t wanted = 2 * std::max(options.candidates_per_search, cross);
  const auto old_items =
      static_cast<int64_t>(static_cast<double>(options.num_items) * (1 - options.new_item_share));
  US_REQUIRE(
      old_items >= wanted,
      fmt::format(
          "synth.num_items: expected at least {} items on the first day (twice the longest candidate list), "
          "got {} ({} items, new_item_share {})",
          wanted, old_items, options.num_items, options.new_item_share));
  US_REQUIRE(
      options.page_size * options.max_pages <= options.candidates_per_search,
      fmt::format(
          "synth.page_size × synth.max_pages: expected at most candidates_per_search ({}), got {} × {}",
          options.candidates_per_search, options.page_size, options.max_pages));
  US_REQUIRE(options.num_brands <= options.num_items,
             fmt::format("synth.num_brands: expected at most num_items ({}), got {}", options.num_items,
                         options.num_brands));
}

schema::SchemaOptions synth_schema() {
  schema::SchemaOptions options;
  options.context = {{"device", "string"}};
  options.candidate = {{"bm25", "double"}, {"popularity", "double"}};
  options.item = {{"brand", "string"}, {"num_ratings", "int"}, {"price", "double"}, {"rating", "double"}};
  options.user = {{"age_group", "string"}, {"segment", "string"}};
  return options;
}

std::vector<schema::SequenceOptions> synth_sequences() {
  return {{.name = "search_clicks", .actions = {"click"}, .domains = {"search"}},
          {.name = "cross_clicks", .actions = {"click"}, .domains = {kFeed, kShop, kAds}},
          {.name = "buys", .actions = {"cart", "purchase"}, .domains = {}}};
}

void require_synth_schema(const schema::LogSchema& schema) {
  const schema::LogSchema own = schema::make_log_schema(synth_schema());
  const std::array<std::tuple<const char*, const std::vector<schema::DeclaredColumn>*,
                              const std::vector<schema::DeclaredColumn>*>,
                   4>
      kinds = {{{"context", &own.context, &schema.context},
                {"candidate", &own.candidate, &schema.candidate},
                {"item", &own.item, &schema.item},
                {"user", &own.user, &schema.user}}};
  for (const auto& [kind, expected, got] : kinds) {
    US_REQUIRE(
        *expected == *got,
        fmt::format(
            "schema.{}: synth writes other columns than this configuration declares: expected {}, got {} "
            "(examples/synth/run.toml has the whole [schema])",
            kind, column_texts(*expected), column_texts(*got)));
  }
  for (const char* domain : {kFeed, kShop, kAds, kCartPage}) {
    US_REQUIRE(schema.search_domain != domain,
               fmt::format("schema.search_domain: \"{}\" is a cross domain of synth", domain));
  }
}

}  // namespace uniscale::synth
