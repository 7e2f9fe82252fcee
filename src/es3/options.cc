#include "es3/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::es3 {
namespace {

constexpr int kMaxSpanDays = 3660;

base::Day day_from(const std::string& text, std::string_view key) {
  const std::optional<base::Day> day = base::parse_day(text);
  US_REQUIRE(day.has_value(),
             fmt::format("es3.{}: expected a day like \"2026-03-01\", got \"{}\"", key, text));
  return *day;
}

}  // namespace

const config::Section<Options>& section() {
  static const auto section =
      config::Section<Options>("es3", "Sample builder")
          .field("store", &Options::store, "folder of the log store that is read", {.source = "es3.md §0"})
          .field("samples", &Options::samples, "folder of the sample set that is written",
                 {.source = "es3.md §6"})
          .field("dt", &Options::dt, "the day to build, \"2026-03-01\"", {.source = "es3.md §8"})
          .field("from", &Options::from, "first day of a span to build", {.source = "es3.md §8"})
          .field("to", &Options::to, "last day of a span to build, included", {.source = "es3.md §8"})
          .field("threads", &Options::threads, "threads over the user buckets; 0: all CPUs",
                 {.min = 0, .max = 1024})
          .field("clock_skew", &Options::clock_skew,
                 "how long before its request an event may be stamped and still count",
                 {.source = "es3.md §1"})
          .field("native_window", &Options::native_window,
                 "how far back a search event without request_id looks for its request",
                 {.source = "es3.md §1"})
          .field("click_window", &Options::click_window, "how long after its request a click counts",
                 {.source = "es3.md §3"})
          .field("cart_window", &Options::cart_window, "how long after its request a cart counts",
                 {.source = "es3.md §3"})
          .field("purchase_window", &Options::purchase_window, "how long after its request a purchase counts",
                 {.source = "es3.md §3"})
          .field("page_window", &Options::page_window,
                 "how far apart pages of one request may lie, as ingest joins them: part of what is read "
                 "after a day",
                 {.source = "es3.md §8"})
          .field("unexposed_ratio", &Options::unexposed_ratio,
                 "unexposed candidates drawn per exposed candidate of the request",
                 {.min = 0, .max = 1e6, .source = "es3.md §2"})
          .field("unexposed_cap", &Options::unexposed_cap, "most unexposed candidates drawn for one request",
                 {.min = 0, .max = 1e9, .source = "es3.md §2"})
          .field("unexposed_if_empty", &Options::unexposed_if_empty,
                 "unexposed candidates drawn for a request that exposed nothing",
                 {.min = 0, .max = 1e9, .source = "es3.md §2"})
          .field("hard_share", &Options::hard_share,
                 "share of the drawn that goes to the highest scores first",
                 {.min = 0, .max = 1, .source = "es3.md §2"})
          .field("attribution", &Options::attribution,
                 "whether events of other domains and orphans label search samples", {.source = "es3.md §3"})
          .field("relevance_gate", &Options::relevance_gate,
                 "what makes an item relevant to a query: text similarity, earlier clicks under the query, "
                 "either, or nothing is asked",
                 {.choices = {"none", "text", "co_click", "either"}, .source = "es3.md §3.2"})
          .field("gate_similarity", &Options::gate_similarity,
                 "similarity of query and title from which the text gate opens",
                 {.min = 0, .max = 1, .source = "es3.md §3.2"})
          .field("stats_lookback", &Options::stats_lookback,
                 "how many days before its day a decision may learn from (whole days)",
                 {.source = "es3.md §3.2, §4"})
          .field(
              "attribute_undrawn", &Options::attribute_undrawn,
              "whether an unexposed candidate that was not drawn may be credited and then joins the samples",
              {.source = "es3.md §3.3"})
          .field("reuse_attributed", &Options::reuse_attributed,
                 "whether clicks that an attribution used up are searchified too", {.source = "es3.md §3.6"})
          .field("half_life", &Options::half_life, "delay that halves the weight of a credit; 0: none does",
                 {.source = "es3.md §3.5"})
          .field("confidence", &Options::confidence,
                 "weight of a credit by \"domain/action\", as { \"feed/click\" = 0.5 }; 1 where not named",
                 {.min = 0, .max = 1000, .source = "es3.md §3.5"})
          .field("searchify", &Options::searchify,
                 "whether remaining clicks of other domains become search-like requests",
                 {.source = "es3.md §4"})
          .field("negative_similarity", &Options::negative_similarity,
                 "similarity to the positive from which a shown item is a negative",
                 {.min = 0, .max = 1, .source = "es3.md §4"})
          .field("negatives_per_positive", &Options::negatives_per_positive,
                 "most negatives of one positive; 0: as many as the click rate of the day before asks for",
                 {.min = 0, .max = 10000, .source = "es3.md §4"})
          .field("own_lookback", &Options::own_lookback,
                 "how far back the user's own queries on the item are looked for",
                 {.source = "es3.md §4, tier 1"})
          .field("co_min_users", &Options::co_min_users,
                 "distinct users who clicked the item under a query before it may stand for the item",
                 {.min = 1, .max = 1e9, .source = "es3.md §4, tier 2"})
          .field("ann_min_count", &Options::ann_min_count,
                 "requests that a query needs before it may stand for an item by its text",
                 {.min = 1, .max = 1e9, .source = "es3.md §4, tier 3"})
          .field("ann_floor", &Options::ann_floor, "least similarity of a query found by its text",
                 {.min = 0, .max = 1, .source = "es3.md §4, tier 3"})
          .field("ann_index", &Options::ann_index,
                 "how the query nearest to an item's title is found; approximate pays from about a million "
                 "queries on",
                 {.choices = {"exact", "approximate"}, .source = "es3.md §4, tier 3"})
          .field("query_embeddings", &Options::query_embeddings,
                 "Parquet file with columns query and embedding (list of float): items with an embedding of "
                 "the same length are compared by it instead of their titles",
                 {.source = "es3.md §4, tier 3"})
          .field("tier_weights", &Options::tier_weights,
                 "weight of samples by the tier of their query: own, co, ann",
                 {.min = 0, .max = 1000, .source = "es3.md §4"})
          .field("history_length", &Options::history_length, "most actions in one history sequence",
                 {.min = 0, .max = 100000, .source = "es3.md §5"})
          .field("history_lookback", &Options::history_lookback,
                 "how far before its request a history reaches", {.source = "es3.md §5"})
          .field("history_gap", &Options::history_gap,
                 "how long before its request a history ends: the delay of the online feature store",
                 {.source = "es3.md §5"})
          .field("query_history_length", &Options::query_history_length, "most queries in the query history",
                 {.min = 0, .max = 100000, .source = "es3.md §5"})
          .field("item_embeddings", &Options::item_embeddings,
                 "whether samples carry the embedding of each item, for features of kind vector")
          .field("row_group_requests", &Options::row_group_requests,
                 "requests in one row group of a sample file; fewer if their lists are long",
                 {.min = 1, .max = 1 << 20, .source = "es3.md §6"});
  return section;
}

base::Duration window_of(const Options& options, schema::Task task) {
  switch (task) {
    case schema::Task::Click:
      return options.click_window;
    case schema::Task::Cart:
      return options.cart_window;
    case schema::Task::Purchase:
      return options.purchase_window;
  }
  US_UNREACHABLE();
}

base::Duration longest_window(const Options& options) {
  return std::max({options.click_window, options.cart_window, options.purchase_window});
}

std::vector<base::Day> days_asked(const Options& options) {
  const bool has_span = !options.from.empty() || !options.to.empty();
  US_REQUIRE(!options.dt.empty() || has_span,
             "es3: expected a day (es3.dt) or a span (es3.from and es3.to), got neither");
  US_REQUIRE(options.dt.empty() || !has_span,
             "es3: expected either a day (es3.dt) or a span (es3.from and es3.to), got both");
  if (!has_span) return {day_from(options.dt, "dt")};
  US_REQUIRE(!options.from.empty() && !options.to.empty(),
             fmt::format("es3: expected both ends of the span, es3.{} is missing",
                         options.from.empty() ? "from" : "to"));
  const base::Day from = day_from(options.from, "from");
  const base::Day to = day_from(options.to, "to");
  US_REQUIRE(from <= to,
             fmt::format("es3: expected es3.from not after es3.to, got {} and {}", options.from, options.to));
  US_REQUIRE(to.number - from.number < kMaxSpanDays,
             fmt::format("es3: expected a span of at most {} days, got {}", kMaxSpanDays,
                         to.number - from.number + 1));
  std::vector<base::Day> days;
  for (base::Day day = from; day <= to; day = day.plus(1)) days.push_back(day);
  return days;
}

void check(const Options& options) {
  constexpr base::Duration kMostWindow{366 * base::kDayMs};
  const std::pair<std::string_view, base::Duration> durations[] = {
      {"clock_skew", options.clock_skew},
      {"native_window", options.native_window},
      {"click_window", options.click_window},
      {"cart_window", options.cart_window},
      {"purchase_window", options.purchase_window},
      {"page_window", options.page_window},
      {"history_gap", options.history_gap},
      {"history_lookback", options.history_lookback},
      {"stats_lookback", options.stats_lookback},
      {"own_lookback", options.own_lookback},
      {"half_life", options.half_life}};
  for (const auto& [key, duration] : durations) {
    US_REQUIRE(duration >= base::Duration{0} && duration <= kMostWindow,
               fmt::format("es3.{}: expected 0 to 366d, got {}", key, base::format_duration(duration)));
  }
  US_REQUIRE(options.stats_lookback.ms % base::kDayMs == 0,
             fmt::format("es3.stats_lookback: expected whole days, got {}",
                         base::format_duration(options.stats_lookback)));
  US_REQUIRE(
      options.tier_weights.size() == 3,
      fmt::format("es3.tier_weights: expected 3 values (own, co, ann), got {}", options.tier_weights.size()));
  for (const auto& [pair, factor] : options.confidence) {
    const size_t slash = pair.rfind('/');
    const std::string action = slash == std::string::npos ? std::string() : pair.substr(slash + 1);
    US_REQUIRE(action == "click" || action == "cart" || action == "purchase",
               fmt::format("es3.confidence: expected \"domain/click\", \"domain/cart\" or "
                           "\"domain/purchase\", got \"{}\"",
                           pair));
  }
  const base::Duration shortest =
      std::min({options.click_window, options.cart_window, options.purchase_window});
  // An event without request_id found inside native_window must be inside its own window too, or two rules of
  // §1 disagree.
  US_REQUIRE(options.native_window <= shortest,
             fmt::format("es3.native_window: expected at most the shortest of click_window, cart_window and "
                         "purchase_window ({}), got {}",
                         base::format_duration(shortest), base::format_duration(options.native_window)));
}

}  // namespace uniscale::es3
