#include "synth/small_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "logstore/logstore.h"

namespace uniscale::synth {
namespace {

using base::kDayMs;
using base::kHourMs;
using base::kMinuteMs;
using base::kSecondMs;
using base::RandomStream;

constexpr int64_t kIdWindowMs = 2 * kDayMs;  // es3.md §0, `id_window`
const std::vector<std::string> kCrossDomains = {"feed", "shop", "ads"};

template <class T>
const T& one_of(RandomStream& random, const std::vector<T>& values) {
  return values[random.below(values.size())];
}

int drawn_int(RandomStream& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<uint64_t>(std::max(high - low, 0) + 1)));
}

// Small ranks come often: a few users and items carry most rows.
const std::string& skewed(RandomStream& random, const std::vector<std::string>& values) {
  const double u = random.uniform();
  return values[static_cast<size_t>(u * u * static_cast<double>(values.size()))];
}

std::vector<std::string> make_ids(RandomStream& random, std::string_view prefix, int count, bool awkward) {
  static const std::vector<std::string> kAwkward = {"9007199254740993",
                                                    "9007199254740992",
                                                    "-1",
                                                    "007",
                                                    "A",
                                                    "a",
                                                    std::string("n\0l", 3),
                                                    "\xd7\xa9\xd7\x9c",
                                                    "caf\xc3\xa9",
                                                    "cafe\xcc\x81",
                                                    "\xff\xfe",
                                                    " ",
                                                    "x:feed:1",
                                                    "i/../1",
                                                    "\"quoted\"",
                                                    "1e5"};
  std::vector<std::string> ids;
  for (int i = 0; i < count; ++i) ids.push_back(fmt::format("{}{}", prefix, i));
  if (awkward) {
    for (const std::string& id : kAwkward) {
      if (random.bernoulli(0.15)) ids[random.below(ids.size())] = id;
    }
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random.below(i)]);
  return ids;
}

class Drawer {
 public:
  Drawer(uint64_t seed, const SmallWorldOptions& options) : random_(seed, 0x5ea11), options_(options) {
    world_.seed = seed;
    schema::SchemaOptions columns;
    columns.num_buckets = drawn_int(random_, 1, 4);
    columns.hash_seed = static_cast<int64_t>(random_.below(3));
    columns.context = {{"device", "string"}};
    columns.candidate = {{"bm25", "double"}};
    columns.item = {{"brand", "string"}, {"price", "double"}};
    columns.user = {{"age", "int"}, {"segment", "string"}};
    world_.schema = schema::make_log_schema(columns);
    world_.sequences = {{.name = "clicks", .actions = {"click"}, .domains = {}},
                        {.name = "search_buys", .actions = {"cart", "purchase"}, .domains = {"search"}}};
    for (int i = 0; i < options.num_days; ++i) world_.days.push_back(options.first_day.plus(i));
    begin_ms_ = options.first_day.begin_ms();
    end_ms_ = options.first_day.plus(options.num_days).begin_ms();
    // A coarse clock makes ties; a fine one almost none.
    static const std::vector<int64_t> kTicks = {1, kSecondMs, 10 * kMinuteMs, 6 * kHourMs};
    tick_ms_ = one_of(random_, kTicks);
    user_ids_ = make_ids(random_, "u", drawn_int(random_, 1, options.max_users), options.awkward_text);
    item_ids_ = make_ids(random_, "i", drawn_int(random_, 2, options.max_items), options.awkward_text);
    make_queries();
  }

  SmallWorld draw() {
    draw_items();
    draw_users();
    const int num_requests = drawn_int(random_, 0, options_.max_requests);
    for (int i = 0; i < num_requests; ++i) draw_request(i);
    const int num_events = drawn_int(random_, 0, options_.max_events);
    for (int i = 0; i < num_events; ++i) {
      if (options_.cross_heavy && !world_.requests.empty() && random_.bernoulli(0.8)) {
        draw_own_event(i);
      } else {
        draw_event(i);
      }
    }
    return std::move(world_);
  }

 private:
  void make_queries() {
    queries_ = {"wool coat", "coat", "red shoe", "blue wool coat", "lamp"};
    if (!options_.awkward_text) return;
    static const std::vector<std::string> kAwkward = {"",
                                                      "  Wool \t COAT ",
                                                      std::string("nul\0query", 9),
                                                      "\xd7\x9e\xd7\xa2\xd7\x99\xd7\x9c",
                                                      "cafe\xcc\x81 chair",
                                                      "caf\xc3\xa9 chair",
                                                      "9007199254740993"};
    for (const std::string& query : kAwkward) {
      if (random_.bernoulli(0.3)) queries_.push_back(query);
    }
    if (random_.bernoulli(0.05)) {
      std::string large;
      while (large.size() < 70'000) large += "wool coat ";
      queries_.push_back(large);
    }
  }

  int64_t tick(int64_t ts_ms) const {
    return std::clamp(ts_ms - (ts_ms - begin_ms_) % tick_ms_, begin_ms_, end_ms_ - 1);
  }
  int64_t any_time() {
    return tick(begin_ms_ + static_cast<int64_t>(random_.below(static_cast<uint64_t>(end_ms_ - begin_ms_))));
  }

  std::optional<std::string> text_or_null(const std::vector<std::string>& words, double null_share) {
    if (random_.bernoulli(null_share)) return std::nullopt;
    return one_of(random_, words);
  }

  void draw_items() {
    static const std::vector<std::string> kTitles = {"Red wool coat", "Blue wool coat",    "Wool coat, long",
                                                     "Red shoe",      "Blue suede shoe",   "Desk lamp",
                                                     "Floor lamp",    "CAF\xc3\x89 chair", ""};
    static const std::vector<std::string> kCategories = {"Clothing/Coats", "Clothing/Shoes", "Home/Lamps",
                                                         "Home"};
    static const std::vector<std::string> kBrands = {"Orla", "Venn", "orla", ""};
    const double null_titles = one_of<double>(random_, {0.0, 0.2, 1.0});
    const bool with_embeddings = random_.bernoulli(0.3);
    for (const std::string& item_id : item_ids_) {
      if (random_.bernoulli(0.1)) continue;  // an item that only the logs know
      std::set<int64_t> versions = {logstore::kEver};
      if (random_.bernoulli(0.2)) versions = {any_time()};  // appears in the middle of the span
      while (random_.bernoulli(0.25)) versions.insert(any_time());
      for (int64_t ts_ms : versions) {
        SmallItem item{.item_id = item_id,
                       .ts_ms = ts_ms,
                       .title = text_or_null(kTitles, null_titles),
                       .category = text_or_null(kCategories, 0.1),
                       .brand = text_or_null(kBrands, 0.2)};
        if (random_.bernoulli(0.9)) item.price = static_cast<double>(random_.below(10'000)) / 100;
        if (with_embeddings && random_.bernoulli(0.8)) {
          for (int i = 0; i < 3; ++i) item.embedding.push_back(static_cast<float>(drawn_int(random_, -2, 2)));
        }
        world_.items.push_back(std::move(item));
      }
    }
  }

  void draw_users() {
    static const std::vector<std::string> kSegments = {"new", "loyal", ""};
    for (const std::string& user_id : user_ids_) {
      if (random_.bernoulli(0.15)) continue;
      std::set<int64_t> versions = {logstore::kEver};
      if (random_.bernoulli(0.2)) versions = {any_time()};
      while (random_.bernoulli(0.25)) versions.insert(any_time());
      for (int64_t ts_ms : versions) {
        SmallUser user{.user_id = user_id, .ts_ms = ts_ms, .segment = text_or_null(kSegments, 0.2)};
        if (random_.bernoulli(0.8)) user.age = drawn_int(random_, -1, 99);
        world_.users.push_back(std::move(user));
      }
    }
  }

  // An id drawn anew, or now and then one that was last used more than `id_window` away in both directions.
  std::string fresh_id(std::map<std::string, std::vector<int64_t>>& used, std::string fresh, int64_t ts_ms) {
    if (options_.reuse_ids && !used.empty() && random_.bernoulli(0.1)) {
      auto it = used.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(random_.below(used.size())));
      const bool apart = std::all_of(it->second.begin(), it->second.end(), [&](int64_t other) {
        return std::max(other, ts_ms) - std::min(other, ts_ms) > kIdWindowMs;
      });
      if (apart) fresh = it->first;
    }
    used[fresh].push_back(ts_ms);
    return fresh;
  }

  void draw_request(int index) {
    SmallRequest request;
    const bool is_search = random_.bernoulli(0.6);
    request.domain = is_search ? world_.schema.search_domain : one_of(random_, kCrossDomains);
    request.ts_ms = any_time();
    // Every domain counts for itself, so that two domains share ids.
    std::string fresh = options_.awkward_text && random_.bernoulli(0.05) ? fmt::format("x:{}", index)
                                                                         : fmt::format("r{}", index);
    if (!is_search && random_.bernoulli(0.5))
      fresh = fmt::format("r{}", random_.below(static_cast<uint64_t>(index) + 1));
    auto& used = used_requests_[request.domain];
    if (used.contains(fresh)) fresh = fmt::format("{}-{}", request.domain, index);
    request.request_id = fresh_id(used, fresh, request.ts_ms);
    if (!random_.bernoulli(0.08)) request.user_id = skewed(random_, user_ids_);
    if (is_search ? !random_.bernoulli(0.05) : random_.bernoulli(0.05))
      request.query = skewed(random_, queries_);
    if (random_.bernoulli(0.9)) request.device = random_.bernoulli(0.5) ? "phone" : "desktop";
    const int num_candidates = random_.bernoulli(0.08) ? 0 : drawn_int(random_, 1, options_.max_candidates);
    const double exposed_share = random_.bernoulli(0.1) ? 0.0 : one_of<double>(random_, {0.3, 0.5, 1.0});
    const bool ties_in_position = random_.bernoulli(0.1);
    const int first_position = random_.bernoulli(0.5) ? 0 : 1;
    std::set<std::string> seen;
    int32_t position = first_position;
    for (int i = 0; i < num_candidates; ++i) {
      SmallCandidate candidate{.item_id = skewed(random_, item_ids_)};
      if (!seen.insert(candidate.item_id).second) continue;
      if (random_.bernoulli(is_search ? exposed_share : 0.9)) {
        candidate.position = position;
        if (!ties_in_position || random_.bernoulli(0.5)) ++position;
        if (random_.bernoulli(0.1)) position += 5;
      }
      // Few values: many equal scores.
      if (random_.bernoulli(0.85)) candidate.score = static_cast<float>(drawn_int(random_, -2, 3)) / 2;
      if (random_.bernoulli(0.85)) candidate.bm25 = static_cast<double>(drawn_int(random_, 0, 40)) / 8;
      request.candidates.push_back(std::move(candidate));
    }
    // The list need not be in order of position.
    for (size_t i = request.candidates.size(); i > 1 && index % 3 == 0; --i) {
      std::swap(request.candidates[i - 1], request.candidates[random_.below(i)]);
    }
    world_.requests.push_back(std::move(request));
  }

  int64_t drawn_delay_ms() {
    static const std::vector<int64_t> kEdges = {-10 * kSecondMs,
                                                -5 * kSecondMs - 1,
                                                -5 * kSecondMs,
                                                -1,
                                                0,
                                                0,
                                                1,
                                                kSecondMs,
                                                30 * kMinuteMs,
                                                30 * kMinuteMs + 1,
                                                24 * kHourMs,
                                                24 * kHourMs + 1,
                                                72 * kHourMs,
                                                72 * kHourMs + 1};
    if (random_.bernoulli(0.4)) return one_of(random_, kEdges);
    static const std::vector<int64_t> kScales = {kMinuteMs, kHourMs, kDayMs, 3 * kDayMs};
    return static_cast<int64_t>(random_.below(static_cast<uint64_t>(one_of(random_, kScales))));
  }

  void draw_event(int index) {
    SmallEvent event;
    static const std::vector<std::string> kActions = {"click", "click",    "click",    "click", "cart",
                                                      "cart",  "purchase", "purchase", "view"};
    event.action = one_of(random_, kActions);
    const SmallRequest* request =
        world_.requests.empty() || random_.bernoulli(0.1) ? nullptr : &one_of(random_, world_.requests);
    if (request && !request->candidates.empty() && !random_.bernoulli(0.05)) {
      const SmallCandidate& candidate = one_of(random_, request->candidates);
      event.item_id = candidate.item_id;
      if (random_.bernoulli(0.7)) event.position = candidate.position;
    } else {
      event.item_id = random_.bernoulli(0.05) ? "unknown item" : skewed(random_, item_ids_);
    }
    event.user_id =
        request && random_.bernoulli(0.9) ? request->user_id : std::optional(skewed(random_, user_ids_));
    if (random_.bernoulli(0.03)) event.user_id.reset();
    event.ts_ms = any_time();
    event.domain = random_.bernoulli(0.4) ? world_.schema.search_domain : one_of(random_, kCrossDomains);
    if (request) {
      event.ts_ms = std::clamp(request->ts_ms + drawn_delay_ms(), begin_ms_, end_ms_ - 1);
      if (random_.bernoulli(0.7)) {  // in the request's own domain; otherwise it is met elsewhere
        event.domain = request->domain;
        if (random_.bernoulli(0.65)) event.request_id = request->request_id;
      } else {
        event.request_id = located_elsewhere(event);
      }
    }
    if (random_.bernoulli(0.03)) event.domain = "cart_page";
    if (random_.bernoulli(0.03)) event.request_id = "no such request";
    if (random_.bernoulli(0.1)) event.request_id = std::nullopt;
    static const std::vector<int64_t> kLate = {1, kHourMs, kDayMs, 5 * kDayMs};
    event.known_ms = event.ts_ms + (random_.bernoulli(0.7) ? 0 : one_of(random_, kLate));
    if (event.action == "purchase" && random_.bernoulli(0.8)) {
      event.value = static_cast<double>(random_.below(10'000)) / 100;
      event.quantity = drawn_int(random_, 1, 3);
    }
    // Descending numbers now and then: event_id order is not time order.
    event.event_id =
        fresh_id(used_events_, fmt::format("e{}", index % 2 == 0 ? index : 10'000 - index), event.ts_ms);
    world_.events.push_back(event);
    while (random_.bernoulli(0.08)) {  // the same action again, at the same time or a little later
      event.event_id = fmt::format("{}+{}", event.event_id, index);
      event.ts_ms = std::min(event.ts_ms + static_cast<int64_t>(random_.below(2)) * tick_ms_, end_ms_ - 1);
      event.known_ms = std::max(event.known_ms, event.ts_ms);
      used_events_[event.event_id].push_back(event.ts_ms);
      world_.events.push_back(event);
    }
  }

  // A click, cart or purchase on something that its request showed, soon after it.
  void draw_own_event(int index) {
    const SmallRequest& request = one_of(random_, world_.requests);
    std::vector<std::string> shown;
    for (const SmallCandidate& candidate : request.candidates) {
      if (candidate.position) shown.push_back(candidate.item_id);
    }
    if (shown.empty()) return;
    static const std::vector<std::string> kActions = {"click", "click", "click", "click", "cart", "purchase"};
    SmallEvent event{.event_id = "",
                     .domain = request.domain,
                     .action = one_of(random_, kActions),
                     .user_id = request.user_id,
                     .item_id = one_of(random_, shown)};
    event.ts_ms = tick(request.ts_ms + static_cast<int64_t>(random_.below(30 * kMinuteMs)));
    event.known_ms = event.ts_ms;
    if (random_.bernoulli(0.7)) event.request_id = request.request_id;
    if (random_.bernoulli(0.05)) event.user_id = one_of(random_, user_ids_);
    event.event_id = fresh_id(used_events_, fmt::format("o{}", index), event.ts_ms);
    world_.events.push_back(event);
    while (random_.bernoulli(0.3)) {  // bought later, often somewhere else
      event.action = random_.bernoulli(0.5) ? "cart" : "purchase";
      if (random_.bernoulli(0.5)) event.domain = "cart_page";
      event.request_id.reset();
      event.ts_ms += static_cast<int64_t>(random_.below(kDayMs));
      event.ts_ms = std::min(event.ts_ms, end_ms_ - 1);
      event.known_ms = event.ts_ms;
      event.event_id += "+";
      used_events_[event.event_id].push_back(event.ts_ms);
      world_.events.push_back(event);
    }
  }

  // The id of a request of the event's domain and user that holds its item, if one is there.
  std::optional<std::string> located_elsewhere(const SmallEvent& event) {
    for (const SmallRequest& request : world_.requests) {
      if (request.domain != event.domain || request.user_id != event.user_id) continue;
      for (const SmallCandidate& candidate : request.candidates) {
        if (candidate.item_id == event.item_id) return request.request_id;
      }
    }
    return std::nullopt;
  }

  RandomStream random_;
  SmallWorldOptions options_;
  SmallWorld world_;
  int64_t begin_ms_ = 0;
  int64_t end_ms_ = 0;
  int64_t tick_ms_ = 1;
  std::vector<std::string> user_ids_;
  std::vector<std::string> item_ids_;
  std::vector<std::string> queries_;
  std::map<std::string, std::map<std::string, std::vector<int64_t>>> used_requests_;  // by domain
  std::map<std::string, std::vector<int64_t>> used_events_;
};

std::string_view view_of(const std::optional<std::string>& text) {
  return text ? std::string_view(*text) : std::string_view();
}

logstore::FeatureValue value_of(const std::optional<std::string>& text) {
  return text ? logstore::FeatureValue::of(std::string_view(*text)) : logstore::FeatureValue{};
}
logstore::FeatureValue value_of(const std::optional<double>& number) {
  return number ? logstore::FeatureValue::of(*number) : logstore::FeatureValue{};
}
logstore::FeatureValue value_of(const std::optional<int64_t>& integer) {
  return integer ? logstore::FeatureValue::of(*integer) : logstore::FeatureValue{};
}

// Pointers to the rows that `keep` wants, sorted by `key`.
template <class Row, class Keep, class Key>
std::vector<const Row*> sorted_rows(const std::vector<Row>& rows, Keep keep, Key key) {
  std::vector<const Row*> out;
  for (const Row& row : rows) {
    if (keep(row)) out.push_back(&row);
  }
  std::stable_sort(out.begin(), out.end(), [&](const Row* a, const Row* b) { return key(*a) < key(*b); });
  return out;
}

// Tables of at most `row_group_rows` rows each; none for no rows.
template <class Row, class Builder, class Push>
std::vector<table::Table> tables_of(const std::vector<const Row*>& rows, Builder builder,
                                    int64_t row_group_rows, Push push) {
  std::vector<table::Table> tables;
  for (const Row* row : rows) {
    push(builder, *row);
    if (builder.num_rows() >= row_group_rows) tables.push_back(builder.finish());
  }
  if (builder.num_rows() > 0) tables.push_back(builder.finish());
  return tables;
}

std::vector<table::Table> request_tables(const std::vector<const SmallRequest*>& rows,
                                         const schema::LogSchema& schema, int64_t row_group_rows) {
  return tables_of(rows, logstore::RequestsBuilder(schema), row_group_rows,
                   [](auto& builder, const SmallRequest& r) {
                     builder.begin(r.request_id, r.domain, view_of(r.user_id), r.ts_ms, view_of(r.query),
                                   {value_of(r.device)});
                     for (const SmallCandidate& c : r.candidates) {
                       builder.candidate({.item_id = c.item_id,
                                          .position = c.position,
                                          .score = c.score,
                                          .features = {value_of(c.bm25)}});
                     }
                   });
}

std::vector<table::Table> event_tables(const std::vector<const SmallEvent*>& rows, int64_t row_group_rows) {
  return tables_of(rows, logstore::EventsBuilder(), row_group_rows, [](auto& builder, const SmallEvent& e) {
    builder.push({.event_id = e.event_id,
                  .domain = e.domain,
                  .action = e.action,
                  .user_id = view_of(e.user_id),
                  .item_id = e.item_id,
                  .ts_ms = e.ts_ms,
                  .known_ms = e.known_ms,
                  .request_id = view_of(e.request_id),
                  .position = e.position,
                  .value = e.value,
                  .quantity = e.quantity});
  });
}

void publish_entities(const SmallWorld& world, const std::string& store, int64_t row_group_rows) {
  const auto items = sorted_rows(
      world.items, [](const SmallItem&) { return true; },
      [](const SmallItem& i) { return std::tie(i.item_id, i.ts_ms); });
  const auto item_tables = tables_of(items, logstore::ItemsBuilder(world.schema), row_group_rows,
                                     [](auto& builder, const SmallItem& i) {
                                       builder.push({.item_id = i.item_id,
                                                     .ts_ms = i.ts_ms,
                                                     .title = view_of(i.title),
                                                     .category = view_of(i.category),
                                                     .features = {value_of(i.brand), value_of(i.price)},
                                                     .embedding = i.embedding});
                                     });
  logstore::publish_items(store, item_tables, json::Value::object());
  std::vector<std::vector<table::Table>> user_tables;
  for (int bucket = 0; bucket < world.schema.num_buckets; ++bucket) {
    const auto users = sorted_rows(
        world.users,
        [&](const SmallUser& u) {
          return base::bucket_of_user(u.user_id, world.schema.num_buckets, world.schema.hash_seed) == bucket;
        },
        [](const SmallUser& u) { return std::tie(u.user_id, u.ts_ms); });
    user_tables.push_back(tables_of(
        users, logstore::UsersBuilder(world.schema), row_group_rows, [](auto& builder, const SmallUser& u) {
          builder.push(u.user_id, u.ts_ms, {value_of(u.age), value_of(u.segment)});
        }));
  }
  logstore::publish_users(store, user_tables, json::Value::object());
}

}  // namespace

SmallWorld draw_small_world(uint64_t seed, const SmallWorldOptions& options) {
  return Drawer(seed, options).draw();
}

void write_small_world(const SmallWorld& world, const std::string& store, int64_t row_group_rows) {
  const schema::LogSchema& schema = world.schema;
  const auto in_span = [&](int64_t ts_ms) {
    return std::find(world.days.begin(), world.days.end(), base::day_of(ts_ms)) != world.days.end();
  };
  for (const SmallRequest& r : world.requests)
    US_CHECK(in_span(r.ts_ms), fmt::format("request {} outside the days", r.request_id));
  for (const SmallEvent& e : world.events)
    US_CHECK(in_span(e.ts_ms), fmt::format("event {} outside the days", e.event_id));
  logstore::create_or_check_store(store, schema);
  publish_entities(world, store, row_group_rows);
  for (base::Day day : world.days) {
    logstore::DayWriter writer(store, schema, day);
    for (int bucket = 0; bucket < schema.num_buckets; ++bucket) {
      const auto here = [&](const auto& row) {
        return base::day_of(row.ts_ms) == day &&
               base::bucket_of_user(row.user_id.value_or(""), schema.num_buckets, schema.hash_seed) == bucket;
      };
      const auto requests = sorted_rows(world.requests, here, [](const SmallRequest& r) {
        return std::tie(r.user_id, r.ts_ms, r.domain, r.request_id);
      });
      const auto events = sorted_rows(
          world.events, here, [](const SmallEvent& e) { return std::tie(e.user_id, e.ts_ms, e.event_id); });
      if (requests.empty() && events.empty()) continue;
      writer.write_bucket(bucket, request_tables(requests, schema, row_group_rows),
                          event_tables(events, row_group_rows));
    }
    writer.publish(json::Value::object());
  }
}

SmallWorld make_small_world(const std::string& store, uint64_t seed, const SmallWorldOptions& options) {
  SmallWorld world = draw_small_world(seed, options);
  write_small_world(world, store);
  return world;
}

}  // namespace uniscale::synth
