#include "bench_day.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/time.h"
#include "logstore/logstore.h"
#include "schema/log_schema.h"

namespace uniscale::bench {
namespace {

using base::kDayMs;
using base::kHourMs;
using base::kMinuteMs;
using base::kSecondMs;
using base::RandomStream;

constexpr int kUsersPerScale = 8'000;
constexpr int kSearchesPerUser = 5;
constexpr int kCandidates = 200;
constexpr int kShown = 50;
constexpr int kFeedShown = 50;
constexpr int kHistoryDays = 7;
constexpr int kLeaves = 100;
constexpr int kItemsPerLeaf = 499;  // a prime: every stride visits all
constexpr int kQueriesPerLeaf = 50;

constexpr std::array<const char*, 50> kNouns = {
    "coat",   "shirt",  "shoe",    "boot",   "skirt",  "dress",  "jacket", "scarf",  "glove",  "belt",
    "lamp",   "chair",  "table",   "sofa",   "shelf",  "rug",    "mirror", "vase",   "clock",  "candle",
    "kettle", "pan",    "knife",   "plate",  "mug",    "tray",   "jug",    "bowl",   "spoon",  "grill",
    "tent",   "bottle", "compass", "helmet", "rope",   "paddle", "skate",  "racket", "bike",   "pump",
    "drill",  "hammer", "saw",     "wrench", "ladder", "brush",  "glue",   "hinge",  "bucket", "shovel"};
constexpr std::array<const char*, 24> kAdjectives = {
    "red",   "blue",   "green", "black",   "white", "grey",  "slim",   "wide",
    "light", "heavy",  "soft",  "bright",  "small", "large", "short",  "long",
    "round", "square", "plain", "striped", "quiet", "warm",  "modern", "classic"};
constexpr std::array<const char*, 12> kMaterials = {"wool",  "cotton", "linen", "leather", "steel", "oak",
                                                    "glass", "copper", "denim", "silk",    "cork",  "marble"};
constexpr std::array<const char*, 40> kBrands = {
    "Orla",  "Venn",  "Tarn",  "Kilo",  "Bask",  "Dune",  "Elm",  "Fjord", "Gale",  "Hart",
    "Iris",  "Juno",  "Kite",  "Loom",  "Moss",  "Nook",  "Opal", "Pike",  "Quay",  "Reed",
    "Sable", "Thorn", "Umber", "Vale",  "Wren",  "Yarn",  "Zest", "Arbor", "Brook", "Cedar",
    "Drift", "Ember", "Flint", "Grove", "Haven", "Inlet", "Jade", "Knoll", "Lark",  "Mesa"};

std::string item_id(int item) {
  return fmt::format("item-{:010x}", base::mix64(static_cast<uint64_t>(item)) >> 24);
}
std::string user_id(int user) {
  return fmt::format("u-{}", base::hex64(base::mix64(static_cast<uint64_t>(user))));
}
std::string department(int leaf) { return leaf < 50 ? "women" : "men"; }
const char* noun(int leaf) { return kNouns[static_cast<size_t>(leaf % 50)]; }

template <size_t N>
const char* one_of(const std::array<const char*, N>& words, uint64_t number) {
  return words[number % N];
}

std::string title(int item) {
  const uint64_t bits = base::random_u64(11, static_cast<uint64_t>(item), 0);
  return fmt::format("{} {} {} {} {}", one_of(kBrands, bits), one_of(kAdjectives, bits >> 8),
                     one_of(kMaterials, bits >> 16), noun(item / kItemsPerLeaf),
                     department(item / kItemsPerLeaf));
}

std::string query(int leaf, int rank) {
  const uint64_t bits = base::random_u64(12, static_cast<uint64_t>(leaf), static_cast<uint64_t>(rank));
  std::string text = noun(leaf);
  if (rank % 3 != 0) text = fmt::format("{} {}", one_of(kAdjectives, bits), text);
  if (rank % 3 == 2) text = fmt::format("{} {}", one_of(kMaterials, bits >> 8), text);
  if (rank % 2 == 1) text += " " + department(leaf);
  return text;
}

struct Shown {
  int item;
  int position;  // 0: not shown
  float score;
};

struct Request {
  std::string request_id, user_id, query;
  bool is_search;
  int64_t ts_ms;
  std::vector<Shown> items;
};

struct Event {
  std::string event_id, user_id, request_id;
  const char* domain;
  const char* action;
  int item;
  int64_t ts_ms, known_ms;
  int position;
};

// Everything that one user does, in the order of time of requests.
class User {
 public:
  User(int number, const BenchDayOptions& options)
      : number_(number), id_(user_id(number)), random_(options.seed, static_cast<uint64_t>(number)) {
    for (int& leaf : interests_) leaf = static_cast<int>(random_.below(kLeaves));
  }

  std::vector<Request> requests;
  std::vector<Event> events;

  void live(int64_t day_begin_ms) {
    const int64_t num_old = 16 + static_cast<int64_t>(random_.below(24));
    for (int64_t i = 0; i < num_old; ++i) {
      const int64_t back = 1 + static_cast<int64_t>(random_.below(kHistoryDays * kDayMs - 1));
      add_event("feed", i % 8 == 0 ? "purchase" : "click", any_item(), day_begin_ms - back, {}, 0);
    }
    if (number_ % 10 == 0) live_day(day_begin_ms - kDayMs);
    live_day(day_begin_ms);
  }

 private:
  void live_day(int64_t begin_ms) {
    end_ms_ = begin_ms + kDayMs;
    std::vector<std::pair<int64_t, bool>> visits;
    const auto moment = [&] { return begin_ms + static_cast<int64_t>(random_.below(kDayMs)); };
    for (int i = 0; i < kSearchesPerUser; ++i) visits.emplace_back(moment(), true);
    for (int i = 0; i < 2 + number_ % 2; ++i) visits.emplace_back(moment(), false);
    std::sort(visits.begin(), visits.end());
    for (const auto& [ts_ms, is_search] : visits) is_search ? search(ts_ms) : feed(ts_ms);
  }

  std::string fresh_id(char prefix) {
    const uint64_t key = (static_cast<uint64_t>(number_) << 20) | num_ids_++;
    return fmt::format("{}-{}", prefix, base::hex64(base::mix64(key)));
  }
  int interest() { return interests_[random_.below(interests_.size())]; }
  int any_item() { return interest() * kItemsPerLeaf + static_cast<int>(random_.below(kItemsPerLeaf)); }

  void search(int64_t ts_ms) {
    const int leaf = random_.bernoulli(0.8) ? interest() : static_cast<int>(random_.below(kLeaves));
    const double u = random_.uniform();
    Request request{fresh_id('r'), id_,   query(leaf, static_cast<int>(u * u * kQueriesPerLeaf)),
                    true,          ts_ms, {}};
    const int other = (leaf + 1 + static_cast<int>(random_.below(kLeaves - 1))) % kLeaves;
    const int start = static_cast<int>(random_.below(kItemsPerLeaf));
    const int stride = 1 + static_cast<int>(random_.below(kItemsPerLeaf - 1));
    for (int i = 0; i < kCandidates; ++i) {
      const int in_leaf = (start + i * stride) % kItemsPerLeaf;
      const float score =
          static_cast<float>(kCandidates - i) / 8 + static_cast<float>(random_.below(64)) / 64;
      request.items.push_back(
          {(i % 10 == 9 ? other : leaf) * kItemsPerLeaf + in_leaf, i < kShown ? i + 1 : 0, score});
    }
    for (const Shown& shown : request.items) {
      if (shown.position == 0) break;
      if (random_.bernoulli(0.15 / std::sqrt(static_cast<double>(shown.position))))
        act("search", request, shown, 0.25);
    }
    for (const Shown& shown : request.items) {
      if (random_.bernoulli(0.1)) met_.push_back(shown.item);
    }
    requests.push_back(std::move(request));
  }

  void feed(int64_t ts_ms) {
    Request request{fresh_id('r'), id_, {}, false, ts_ms, {}};
    std::set<int> seen;
    while (static_cast<int>(request.items.size()) < kFeedShown) {
      const bool again = !met_.empty() && random_.bernoulli(0.3);
      const int item =
          again ? met_[random_.below(met_.size())]
                : (random_.bernoulli(0.7) ? any_item()
                                          : static_cast<int>(random_.below(kLeaves * kItemsPerLeaf)));
      if (!seen.insert(item).second) continue;
      const Shown shown{item, static_cast<int>(request.items.size()) + 1,
                        static_cast<float>(random_.below(1000)) / 16};
      request.items.push_back(shown);
      if (random_.bernoulli(again ? 0.08 : 0.03)) act("feed", request, shown, 0.2);
    }
    requests.push_back(std::move(request));
  }

  // A click, now and then followed by a cart and a purchase, and now and then logged without its request.
  void act(const char* domain, const Request& request, const Shown& shown, double cart_rate) {
    const std::string& id = random_.bernoulli(0.05) ? std::string() : request.request_id;
    int64_t ts_ms = request.ts_ms + kSecondMs + static_cast<int64_t>(random_.exponential(40.0 * kSecondMs));
    add_event(domain, "click", shown.item, ts_ms, id, shown.position);
    if (!random_.bernoulli(cart_rate)) return;
    ts_ms += static_cast<int64_t>(random_.exponential(2.0 * kMinuteMs));
    add_event(domain, "cart", shown.item, ts_ms, id, shown.position);
    if (!random_.bernoulli(0.4)) return;
    const bool elsewhere = random_.bernoulli(0.5);
    ts_ms += static_cast<int64_t>(
        random_.exponential(static_cast<double>(elsewhere ? 6 * kHourMs : 15 * kMinuteMs)));
    add_event(elsewhere ? "cart_page" : domain, "purchase", shown.item, ts_ms, elsewhere ? std::string() : id,
              shown.position);
  }

  void add_event(const char* domain, const char* action, int item, int64_t ts_ms, std::string request_id,
                 int position) {
    if (ts_ms >= end_ms_) return;
    const int64_t late =
        random_.bernoulli(0.03) ? static_cast<int64_t>(random_.exponential(3.0 * kHourMs)) : 0;
    events.push_back(
        {fresh_id('e'), id_, std::move(request_id), domain, action, item, ts_ms, ts_ms + late, position});
  }

  int number_;
  std::string id_;
  RandomStream random_;
  std::array<int, 4> interests_{};
  std::vector<int> met_;
  uint64_t num_ids_ = 0;
  int64_t end_ms_ = INT64_MAX;
};

bool has_colliding_grams(const std::set<std::u32string>& grams, uint64_t hash_seed) {
  std::set<uint64_t> dimensions;
  for (const std::u32string& gram : grams) {
    std::array<char, 12> bytes;
    std::memcpy(bytes.data(), gram.data(), bytes.size());
    const uint64_t hash = base::stable_hash(hash_seed, {bytes.data(), bytes.size()});
    if (!dimensions.insert(hash & ((1U << 18) - 1)).second) return true;
  }
  return false;
}

uint64_t seed_without_collisions() {
  std::set<std::u32string> grams;
  const auto add = [&](const std::string& text) {
    std::u32string points(1, 0x110000);
    for (const char c : text) points += static_cast<char32_t>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    points += 0x110000;
    for (size_t i = 0; i + 3 <= points.size(); ++i) grams.insert(points.substr(i, 3));
  };
  for (int item = 0; item < kLeaves * kItemsPerLeaf; ++item) add(title(item));
  for (int i = 0; i < kLeaves * kQueriesPerLeaf; ++i) add(query(i / kQueriesPerLeaf, i % kQueriesPerLeaf));
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    if (!has_colliding_grams(grams, seed)) return seed;
  }
  throw base::InternalError("every hash seed makes two 3-grams collide");
}

schema::LogSchema bench_schema(int num_buckets, uint64_t hash_seed) {
  schema::SchemaOptions columns;
  columns.num_buckets = num_buckets;
  columns.hash_seed = static_cast<int64_t>(hash_seed);
  columns.context = {{"device", "string"}};
  columns.candidate = {{"bm25", "double"}, {"popularity", "double"}};
  columns.item = {{"brand", "string"}, {"price", "double"}, {"rating", "double"}};
  columns.user = {{"age_group", "string"}, {"segment", "string"}};
  return schema::make_log_schema(columns);
}

using logstore::FeatureValue;

std::string_view text_or_null(const std::string& text) {
  return text.empty() ? std::string_view() : std::string_view(text);
}

void write_items(const std::string& store, const schema::LogSchema& schema) {
  std::vector<std::pair<std::string, int>> order;
  for (int item = 0; item < kLeaves * kItemsPerLeaf; ++item) order.emplace_back(item_id(item), item);
  std::sort(order.begin(), order.end());
  logstore::ItemsBuilder builder(schema);
  std::vector<table::Table> tables;
  for (const auto& [id, item] : order) {
    const int leaf = item / kItemsPerLeaf;
    const std::string text = title(item), category = fmt::format("{}/{}", department(leaf), noun(leaf));
    const uint64_t bits = base::random_u64(13, static_cast<uint64_t>(item), 0);
    builder.push({.item_id = id,
                  .title = text,
                  .category = category,
                  .features = {FeatureValue::of(std::string_view(text).substr(0, text.find(' '))),
                               FeatureValue::of(static_cast<double>(bits % 20'000) / 100),
                               FeatureValue::of(static_cast<double>((bits >> 32) % 50) / 10)},
                  .embedding = {}});
  }
  tables.push_back(builder.finish());
  logstore::publish_items(store, tables, json::Value::object());
}

void write_users(const std::string& store, const schema::LogSchema& schema,
                 const std::vector<std::vector<int>>& buckets) {
  static const std::array<const char*, 5> kSegments = {"new", "loyal", "bargain", "style", "home"};
  static const std::array<const char*, 6> kAges = {"18-24", "25-34", "35-44", "45-54", "55-64", "65+"};
  std::vector<std::vector<table::Table>> tables;
  for (const std::vector<int>& users : buckets) {
    logstore::UsersBuilder builder(schema);
    for (const int user : users) {
      const uint64_t bits = base::mix64(static_cast<uint64_t>(user) + 77);
      builder.push(user_id(user), logstore::kEver,
                   {FeatureValue::of(std::string_view(one_of(kAges, bits))),
                    FeatureValue::of(std::string_view(one_of(kSegments, bits >> 8)))});
    }
    tables.emplace_back();
    if (builder.num_rows() > 0) tables.back().push_back(builder.finish());
  }
  logstore::publish_users(store, tables, json::Value::object());
}

std::vector<table::Table> request_tables(const std::vector<Request>& requests,
                                         const schema::LogSchema& schema,
                                         const std::vector<std::string>& item_ids) {
  std::vector<table::Table> tables;
  logstore::RequestsBuilder builder(schema);
  for (const Request& request : requests) {
    const uint64_t bits = base::mix64(static_cast<uint64_t>(request.ts_ms));
    builder.begin(request.request_id, request.is_search ? "search" : "feed", request.user_id, request.ts_ms,
                  text_or_null(request.query),
                  {FeatureValue::of(std::string_view(bits % 3 == 0 ? "desktop" : "phone"))});
    for (const Shown& shown : request.items) {
      const uint64_t noise = base::mix64(bits ^ static_cast<uint64_t>(shown.item));
      builder.candidate(
          {.item_id = item_ids[static_cast<size_t>(shown.item)],
           .position = shown.position > 0 ? std::optional<int32_t>(shown.position) : std::nullopt,
           .score = shown.score,
           .features = {
               FeatureValue::of(static_cast<double>(noise % 4096) / 256),
               FeatureValue::of(static_cast<double>(base::mix64(static_cast<uint64_t>(shown.item)) % 10'000) /
                                100)}});
    }
    if (builder.num_rows() >= logstore::kRowGroupRows) tables.push_back(builder.finish());
  }
  if (builder.num_rows() > 0) tables.push_back(builder.finish());
  return tables;
}

std::vector<table::Table> event_tables(const std::vector<Event>& events,
                                       const std::vector<std::string>& item_ids) {
  logstore::EventsBuilder builder;
  for (const Event& e : events) {
    builder.push({.event_id = e.event_id,
                  .domain = e.domain,
                  .action = e.action,
                  .user_id = e.user_id,
                  .item_id = item_ids[static_cast<size_t>(e.item)],
                  .ts_ms = e.ts_ms,
                  .known_ms = e.known_ms,
                  .request_id = text_or_null(e.request_id),
                  .position = e.position > 0 ? std::optional<int32_t>(e.position) : std::nullopt,
                  .value = std::nullopt,
                  .quantity = std::nullopt});
  }
  std::vector<table::Table> tables;
  if (builder.num_rows() > 0) tables.push_back(builder.finish());
  return tables;
}

}  // namespace

void write_bench_day(const std::string& store, const BenchDayOptions& options) {
  const schema::LogSchema schema = bench_schema(16 * options.scale, seed_without_collisions());
  logstore::create_or_check_store(store, schema);
  write_items(store, schema);
  std::vector<std::string> item_ids;
  for (int item = 0; item < kLeaves * kItemsPerLeaf; ++item) item_ids.push_back(item_id(item));
  std::vector<std::vector<int>> buckets(static_cast<size_t>(schema.num_buckets));
  for (int user = 0; user < kUsersPerScale * options.scale / options.shrink; ++user)
    buckets[static_cast<size_t>(base::bucket_of_user(user_id(user), schema.num_buckets, schema.hash_seed))]
        .push_back(user);
  for (std::vector<int>& users : buckets)
    std::sort(users.begin(), users.end(), [](int a, int b) { return user_id(a) < user_id(b); });
  write_users(store, schema, buckets);
  const base::Day last = *base::parse_day(kBenchDay);
  for (base::Day day = last.plus(-kHistoryDays); day <= last; day = day.plus(1)) {
    logstore::DayWriter writer(store, schema, day);
    for (int bucket = 0; bucket < schema.num_buckets; ++bucket) {
      std::vector<Request> requests;
      std::vector<Event> events;
      for (const int number : buckets[static_cast<size_t>(bucket)]) {
        User user(number, options);
        user.live(last.begin_ms());
        for (Request& request : user.requests)
          if (base::day_of(request.ts_ms) == day) requests.push_back(std::move(request));
        for (Event& event : user.events)
          if (base::day_of(event.ts_ms) == day) events.push_back(std::move(event));
      }
      std::sort(requests.begin(), requests.end(), [](const Request& a, const Request& b) {
        return std::tuple(std::string_view(a.user_id), a.ts_ms, !a.is_search ? 0 : 1,
                          std::string_view(a.request_id)) < std::tuple(std::string_view(b.user_id), b.ts_ms,
                                                                       !b.is_search ? 0 : 1,
                                                                       std::string_view(b.request_id));
      });
      std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
        return std::tie(a.user_id, a.ts_ms, a.event_id) < std::tie(b.user_id, b.ts_ms, b.event_id);
      });
      writer.write_bucket(bucket, request_tables(requests, schema, item_ids), event_tables(events, item_ids));
    }
    writer.publish(json::Value::object());
  }
}

}  // namespace uniscale::bench
