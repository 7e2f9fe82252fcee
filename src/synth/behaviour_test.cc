// What the people of the marketplace do, held against the options and the truth. Seeds are fixed: a bound of
// 4 standard errors is a statement about this code, not about luck.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "synth/detail/listing.h"
#include "synth/detail/read_back.h"
#include "synth/marketplace.h"

namespace uniscale::synth {
namespace {

// A sum of independent yes/no outcomes against its expectation.
struct Tally {
  double expected = 0, variance = 0, got = 0;
  void add(double prob, double outcome) {
    expected += prob;
    variance += prob * (1 - prob);
    got += outcome;
  }
  double z() const { return variance > 0 ? (got - expected) / std::sqrt(variance) : 0.0; }
};

struct LivedWorld {
  TemporaryFolder folder;
  Options options;
  Report report;
  ReadLogs logs;
};

// One world without defects of the log, so that every event can be led back to its request.
const LivedWorld& clean_run() {
  static const std::unique_ptr<LivedWorld> made = [] {
    auto r = std::make_unique<LivedWorld>();
    r->options.store = r->folder.path("s");
    r->options.days = 3;
    r->options.num_users = 500;
    r->options.num_items = 4'000;
    r->options.requestless_rate = r->options.duplicate_rate = r->options.late_rate = 0;
    schema::SchemaOptions columns = synth_schema();
    columns.num_buckets = 4;
    r->report = run(r->options, schema::make_log_schema(columns), 2);
    r->logs = read_logs(r->options.store);
    return r;
  }();
  return *made;
}

using Key = std::pair<std::string, std::string>;  // request, item
std::set<Key> keys_of(const ReadLogs& logs, std::string_view action) {
  std::set<Key> keys;
  for (const ReadEvent& e : logs.events) {
    if (e.action == action && e.request_id) keys.insert({*e.request_id, e.item_id});
  }
  return keys;
}

// Their events may lie beyond the last day.
bool is_near_the_end(const ReadRequest& r) {
  return r.ts_ms > base::parse_day("2026-03-04")->begin_ms() - 4 * base::kHourMs;
}

TEST(Behaviour, ClicksAndPurchasesFollowTheTruth) {
  const LivedWorld& world = clean_run();
  const std::set<Key> clicks = keys_of(world.logs, "click"), purchases = keys_of(world.logs, "purchase");
  std::map<std::string, Tally> clicks_by_domain, purchases_by_domain;
  std::array<Tally, 10> clicks_by_decile;
  for (const ReadRequest& r : world.logs.requests) {
    if (is_near_the_end(r)) continue;
    for (const ReadCandidate& c : r.candidates) {
      const Key key{r.request_id, c.item_id};
      if (c.position == 0) {
        EXPECT_FALSE(clicks.contains(key));
        continue;
      }
      const double examined = examination_prob(world.options, c.position);
      clicks_by_domain[r.domain].add(examined * c.click_prob, clicks.contains(key));
      purchases_by_domain[r.domain].add(examined * c.purchase_prob, purchases.contains(key));
      if (r.domain == "search") {
        clicks_by_decile[static_cast<size_t>(std::min(c.click_prob * 10.0f, 9.0f))].add(
            examined * c.click_prob, clicks.contains(key));
      }
    }
  }
  ASSERT_EQ(clicks_by_domain.size(), 4u);
  for (const auto& [domain, tally] : clicks_by_domain) {
    EXPECT_GT(tally.got, 100) << domain;
    EXPECT_LT(std::abs(tally.z()), 4) << domain << " clicks " << tally.got << " expected " << tally.expected;
  }
  for (const auto& [domain, tally] : purchases_by_domain) {
    EXPECT_LT(std::abs(tally.z()), 4)
        << domain << " purchases " << tally.got << " expected " << tally.expected;
  }
  EXPECT_GT(purchases_by_domain["search"].got, 100);
  for (size_t decile = 0; decile < clicks_by_decile.size(); ++decile) {
    EXPECT_LT(std::abs(clicks_by_decile[decile].z()), 4) << "decile " << decile;
  }
}

TEST(Behaviour, MeanRatesAreThoseOfTheOptions) {
  const LivedWorld& world = clean_run();
  const std::map<std::string, double> click_rates = {{"search", world.options.click_rate},
                                                     {"feed", world.options.feed_click_rate},
                                                     {"shop", world.options.shop_click_rate},
                                                     {"ads", world.options.ads_click_rate}};
  std::map<std::string, double> weights, probs;
  for (const ReadRequest& r : world.logs.requests) {
    for (const ReadCandidate& c : r.candidates) {
      if (c.position == 0) continue;
      const double examined = examination_prob(world.options, c.position);
      weights[r.domain] += examined;
      probs[r.domain] += examined * c.click_prob;
    }
  }
  EXPECT_NEAR(probs["search"] / weights["search"] / world.options.click_rate, 1.0, 0.06);
  // The intercepts of the others do not count the items that are met again, which are liked more.
  for (const char* domain : {"feed", "shop", "ads"}) {
    const double ratio = probs[domain] / weights[domain] / click_rates.at(domain);
    EXPECT_GT(ratio, 0.94) << domain;
    EXPECT_LT(ratio, 1.6) << domain;
  }
  const double clicks = world.report.counts.at("domains").at("search").at("click"),
               carts = world.report.counts.at("domains").at("search").at("cart"),
               purchases = world.report.counts.at("domains").at("search").at("purchase");
  EXPECT_NEAR(carts / clicks / world.options.cart_rate, 1.0, 0.1);
  EXPECT_NEAR(purchases / carts / world.options.purchase_rate, 1.0, 0.15);
  const double requests = static_cast<double>(world.report.num_requests);
  EXPECT_NEAR(world.report.counts.at("anonymous_requests").get<double>() / requests,
              world.options.anonymous_rate, 0.015);
  const double per_user_day =
      world.report.counts.at("domains").at("search").at("requests").get<double>() / (500.0 / 0.95 * 3);
  EXPECT_NEAR(per_user_day / world.options.searches_per_user_day, 1.0, 0.1);
}

TEST(Behaviour, ClickThroughFallsWithPosition) {
  const LivedWorld& world = clean_run();
  const std::set<Key> clicks = keys_of(world.logs, "click");
  std::array<double, 3> shown{}, clicked{};
  for (const ReadRequest& r : world.logs.requests) {
    if (r.domain != "feed") continue;
    for (const ReadCandidate& c : r.candidates) {
      if (c.position == 0) continue;
      const size_t group = c.position <= 3 ? 0 : c.position <= 10 ? 1 : 2;
      shown[group] += 1;
      clicked[group] += clicks.contains({r.request_id, c.item_id});
    }
  }
  EXPECT_GT(clicked[0] / shown[0], 1.3 * clicked[1] / shown[1]);
  EXPECT_GT(clicked[1] / shown[1], 1.1 * clicked[2] / shown[2]);
  for (int32_t position = 1; position < 60; ++position) {
    EXPECT_GE(examination_prob(world.options, position), examination_prob(world.options, position + 1));
  }
  EXPECT_DOUBLE_EQ(examination_prob(world.options, 1), 1.0);
  EXPECT_NEAR(examination_prob(world.options, 4), 0.5, 1e-12);  // 4^-0.5
}

TEST(Behaviour, TheProductionRankerIsGoodButBiased) {
  const LivedWorld& world = clean_run();
  double agree = 0, pairs = 0, shown_best = 0, requests = 0, shown_popularity = 0, shown = 0, popularity = 0,
         all = 0;
  for (const ReadRequest& r : world.logs.requests) {
    if (r.domain != "search") continue;
    float best_shown = 0, best_hidden = 0;
    for (size_t i = 0; i < r.candidates.size(); ++i) {
      const ReadCandidate& c = r.candidates[i];
      (c.position != 0 ? best_shown : best_hidden) =
          std::max(c.position != 0 ? best_shown : best_hidden, c.click_prob);
      popularity += c.popularity;
      all += 1;
      if (c.position != 0) {
        shown_popularity += c.popularity;
        shown += 1;
      }
      const ReadCandidate& other = r.candidates[(i * 7 + 100) % r.candidates.size()];
      if (other.score == c.score || other.click_prob == c.click_prob) continue;
      agree += (other.score > c.score) == (other.click_prob > c.click_prob);
      pairs += 1;
    }
    shown_best += best_shown >= best_hidden;
    requests += 1;
  }
  EXPECT_GT(agree / pairs, 0.6);
  EXPECT_LT(agree / pairs, 0.9);
  EXPECT_LT(shown_best / requests, 0.8);  // often the best candidate was not shown
  EXPECT_GT(shown_popularity / shown, popularity / all + 0.3);
}

TEST(Behaviour, PeopleBuyLaterOnTheCartPage) {
  const LivedWorld& world = clean_run();
  // Clicks of users with an id in search, that did not lead to a purchase there.
  const std::set<Key> purchases = keys_of(world.logs, "purchase");
  double eligible = 0;
  for (const ReadEvent& e : world.logs.events) {
    if (e.action == "click" && e.domain == "search" && e.user_id)
      eligible += !purchases.contains({*e.request_id, e.item_id});
  }
  const double fits = 0.5 * std::erfc(-std::log(16.8) / world.options.later_delay_spread /
                                      std::sqrt(2.0));  // 7 d of median 10 h
  const double rate = world.options.later_purchase_rate * fits;
  const double got = world.report.counts.at("later_purchases").get<double>();
  EXPECT_LT(std::abs(got - rate * eligible), 4 * std::sqrt(rate * (1 - rate) * eligible) + 0.01 * got)
      << got << " of " << eligible;
  std::set<Key> clicked;  // user, item
  for (const ReadEvent& e : world.logs.events) {
    if (e.domain == "search" && e.action == "click" && e.user_id) clicked.insert({*e.user_id, e.item_id});
  }
  int num_later = 0;
  for (const ReadEvent& e : world.logs.events) {
    if (e.domain != "cart_page") continue;
    ++num_later;
    EXPECT_EQ(e.action, "purchase");
    EXPECT_TRUE(e.user_id && !e.request_id && e.position == 0);
    EXPECT_TRUE(clicked.contains({*e.user_id, e.item_id}));
  }
  EXPECT_GT(num_later, 50);
  EXPECT_GT(world.report.num_events_after_end, 0);
}

struct Share {
  double got = 0, of = 0;
  double value() const { return got / of; }
  double variance() const { return value() * (1 - value()) / of; }
};

// Of the cross-domain clicks, those on an item that an earlier search showed to the user.
Share share_met_in_search(const ReadLogs& logs) {
  std::map<Key, int64_t> met;  // user, item → first seen
  for (const ReadRequest& r : logs.requests) {
    if (r.domain != "search" || !r.user_id) continue;
    for (const ReadCandidate& c : r.candidates) {
      if (c.position == 0) continue;
      const auto [it, is_new] = met.try_emplace({*r.user_id, c.item_id}, r.ts_ms);
      if (!is_new) it->second = std::min(it->second, r.ts_ms);
    }
  }
  Share share;
  for (const ReadEvent& e : logs.events) {
    if (e.action != "click" || e.domain == "search" || !e.user_id) continue;
    const auto it = met.find({*e.user_id, e.item_id});
    share.of += 1;
    share.got += it != met.end() && it->second <= e.ts_ms;
  }
  return share;
}

TEST(Behaviour, ItemsOfSearchAreMetAgainElsewhere) {
  const auto live = [](double remeet_rate, int64_t& shown_again) {
    const TemporaryFolder folder;
    Options options;
    options.store = folder.path("s");
    options.days = 3;
    options.num_users = 200;
    options.num_items = 20'000;  // meeting by chance is rare
    options.remeet_rate = remeet_rate;
    options.unexposed_meet_rate = 0;
    const Report report = run(options, schema::make_log_schema(synth_schema()), 2);
    shown_again = report.counts.at("shown_again").get<int64_t>();
    return share_met_in_search(read_logs(options.store, false));
  };
  int64_t shown_again = 0;
  const Share by_chance = live(0, shown_again);
  EXPECT_EQ(shown_again, 0);
  const Share with = live(1, shown_again);
  EXPECT_GT(shown_again, 300);
  EXPECT_GT(with.value() - by_chance.value(), 4 * std::sqrt(with.variance() + by_chance.variance()))
      << with.value() << " " << by_chance.value();
}

TEST(Behaviour, NeedsComeBackSoQueriesRepeat) {
  const LivedWorld& world = clean_run();
  std::map<Key, int> queries;  // user, query
  double searches = 0;
  for (const ReadRequest& r : world.logs.requests) {
    if (r.domain != "search" || !r.user_id) continue;
    searches += 1;
    ++queries[{*r.user_id, *r.query}];
  }
  const double repeated = searches - static_cast<double>(queries.size());
  EXPECT_GT(repeated / searches, 0.1);
  EXPECT_LT(repeated / searches, 0.7);
}

TEST(Behaviour, DefectsOfTheLogComeAtTheirRates) {
  const TemporaryFolder folder;
  Options options;
  options.store = folder.path("s");
  options.days = 3;
  options.num_users = 500;
  options.num_items = 4'000;
  options.requestless_rate = 0.2;
  options.duplicate_rate = 0.1;
  options.late_rate = 0.15;
  const Report report = run(options, schema::make_log_schema(synth_schema()), 2);
  const ReadLogs logs = read_logs(options.store, false);
  double originals = 0, copies = 0, late = 0, requestless = 0, could_have_request = 0, lateness = 0;
  std::map<std::string, const ReadEvent*> by_id;
  for (const ReadEvent& e : logs.events) by_id[e.event_id] = &e;
  for (const ReadEvent& e : logs.events) {
    const bool is_copy = e.event_id.ends_with('r');
    (is_copy ? copies : originals) += 1;
    late += e.known_ms > e.ts_ms;
    lateness += static_cast<double>(e.known_ms - e.ts_ms);
    if (e.domain != "cart_page" && !is_copy) {
      could_have_request += 1;
      requestless += !e.request_id;
    }
    if (!is_copy) continue;
    const auto original = by_id.find(e.event_id.substr(0, e.event_id.size() - 1));
    if (original == by_id.end()) continue;  // on another day's side of midnight
    EXPECT_EQ(original->second->item_id, e.item_id);
    EXPECT_EQ(original->second->request_id, e.request_id);
    EXPECT_LE(std::abs(original->second->ts_ms - e.ts_ms), 2000);
  }
  const auto near = [](double got, double of, double rate) {
    return std::abs(got - rate * of) < 4 * std::sqrt(rate * (1 - rate) * of);
  };
  EXPECT_TRUE(near(copies, originals, 0.1)) << copies << " of " << originals;
  EXPECT_TRUE(near(late, originals + copies, 0.15)) << late << " of " << originals + copies;
  EXPECT_TRUE(near(requestless, could_have_request, 0.2)) << requestless << " of " << could_have_request;
  EXPECT_NEAR(lateness / late / static_cast<double>(options.late_delay_mean.ms), 1.0, 4 / std::sqrt(late));
  EXPECT_EQ(report.counts.at("duplicate_events").get<double>(), copies);
  EXPECT_EQ(report.counts.at("late_events").get<double>(), late);
}

TEST(Behaviour, PopularityIsSkewed) {
  const LivedWorld& world = clean_run();
  std::map<std::string, double> shown;
  double all = 0;
  for (const ReadRequest& r : world.logs.requests) {
    for (const ReadCandidate& c : r.candidates) {
      if (c.position == 0) continue;
      shown[c.item_id] += 1;
      all += 1;
    }
  }
  std::vector<double> counts;
  for (const auto& [item, count] : shown) counts.push_back(count);
  std::sort(counts.rbegin(), counts.rend());
  double head = 0;
  for (size_t i = 0; i < 400 && i < counts.size(); ++i) head += counts[i];  // a tenth of the items
  EXPECT_GT(head / all, 0.25);
  EXPECT_LT(head / all, 0.9);
}

}  // namespace
}  // namespace uniscale::synth
