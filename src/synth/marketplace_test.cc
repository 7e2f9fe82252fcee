// What the marketplace writes: form, determinism, refusals. What its people do is in behaviour_test.cc.
#include "synth/marketplace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "config/config.h"
#include "synth/detail/read_back.h"

namespace uniscale::synth {
namespace {

using ::testing::HasSubstr;

schema::LogSchema small_schema(int num_buckets = 4) {
  schema::SchemaOptions options = synth_schema();
  options.num_buckets = num_buckets;
  return schema::make_log_schema(options);
}

Options small_options(const std::string& store) {
  Options options;
  options.store = store;
  options.days = 2;
  options.num_users = 60;
  options.num_items = 1'500;
  options.num_brands = 30;
  return options;
}

std::string error_of(const Options& options, const schema::LogSchema& schema) {
  try {
    run(options, schema, 1);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Marketplace, ThreadsChangeNoByte) {
  const TemporaryFolder folder;
  for (int num_threads : {1, 2, 5})
    run(small_options(folder.path(std::to_string(num_threads))), small_schema(), num_threads);
  const auto one = read_manifests(folder.path("1"));
  ASSERT_EQ(one.size(), 7u);  // store, items, users, two days, two truths
  EXPECT_EQ(one, read_manifests(folder.path("2")));
  EXPECT_EQ(one, read_manifests(folder.path("5")));
  // The manifests' hashes speak for the files.
  const auto day = table::read_publication(folder.path("2"), "dt=2026-03-01").value();
  for (const auto& file : day.files) {
    EXPECT_EQ(base::content_hash_of_file((folder.path("2")) + "/" + file.path), file.hash);
  }
}

TEST(Marketplace, ASeedNamesAWorldAndBucketsOnlyCutIt) {
  const TemporaryFolder folder;
  Options options = small_options(folder.path("a"));
  run(options, small_schema(1), 1);
  options.store = folder.path("b");
  run(options, small_schema(3), 1);
  const auto sorted_rows = [](const std::string& store) {
    std::multiset<std::tuple<std::string, int64_t, std::string, size_t>> rows;
    for (const ReadRequest& r : read_logs(store).requests) {
      rows.insert({r.request_id, r.ts_ms, r.candidates[0].item_id, r.candidates.size()});
    }
    return rows;
  };
  EXPECT_EQ(sorted_rows(folder.path("a")), sorted_rows(folder.path("b")));
  options.store = folder.path("c");
  options.seed = 2;
  run(options, small_schema(3), 1);
  EXPECT_NE(sorted_rows(folder.path("b")), sorted_rows(folder.path("c")));
}

TEST(Marketplace, ALongerSpanBeginsWithTheSameDays) {
  const TemporaryFolder folder;
  Options options = small_options(folder.path("short"));
  options.new_item_share = 0;  // both spread over the span
  options.price_change_share = 0;
  options.needs_per_week = 1;
  run(options, small_schema(), 2);
  options.store = folder.path("long");
  options.days = 3;
  run(options, small_schema(), 2);
  // Calibration probes the whole span, so probabilities move a little; who visits when does not.
  const auto visits = [](const std::string& store) {
    std::vector<std::tuple<std::string, int64_t, std::optional<std::string>>> rows;
    for (const ReadRequest& r : read_logs(store).requests) {
      if (base::format_day(base::day_of(r.ts_ms)) < "2026-03-03")
        rows.emplace_back(r.request_id, r.ts_ms, r.query);
    }
    return rows;
  };
  EXPECT_EQ(visits(folder.path("short")), visits(folder.path("long")));
}

TEST(Marketplace, SearchesHaveTwoHundredRankedCandidatesAndStoreOrderHolds) {
  const TemporaryFolder folder;
  const Options options = small_options(folder.path("s"));
  const Report report = run(options, small_schema(), 2);
  const ReadLogs logs = read_logs(options.store);  // also checks that the truth lines up
  ASSERT_EQ(static_cast<int64_t>(logs.requests.size()), report.num_requests);
  ASSERT_EQ(static_cast<int64_t>(logs.events.size()), report.num_events);
  int64_t num_candidates = 0;
  std::set<std::string> domains, request_ids, event_ids;
  for (size_t i = 0; i < logs.requests.size(); ++i) {
    const ReadRequest& r = logs.requests[i];
    num_candidates += static_cast<int64_t>(r.candidates.size());
    domains.insert(r.domain);
    EXPECT_TRUE(request_ids.insert(r.request_id).second) << r.request_id;
    EXPECT_EQ(base::bucket_of_user(r.user_id.value_or(""), 4, 0), r.bucket);
    EXPECT_EQ(r.query.has_value(), r.domain == "search");
    if (r.domain == "search") {
      EXPECT_EQ(r.candidates.size(), 200u);
    }
    std::set<std::string> items;
    int32_t shown = 0;
    for (size_t c = 0; c < r.candidates.size(); ++c) {
      const ReadCandidate& candidate = r.candidates[c];
      EXPECT_TRUE(items.insert(candidate.item_id).second);
      if (candidate.position != 0) {
        EXPECT_EQ(candidate.position, ++shown);
      }
      if (c > 0) {
        EXPECT_GE(r.candidates[c - 1].score, candidate.score);
      }
      EXPECT_EQ(candidate.bm25.has_value(), r.domain == "search");
      EXPECT_GT(candidate.click_prob, 0.0f);
      EXPECT_LT(candidate.click_prob, 1.0f);
      EXPECT_LT(candidate.purchase_prob, candidate.click_prob);
    }
    if (r.domain == "search") {
      EXPECT_EQ(shown % 10, 0);
    }
    if (i > 0 && logs.requests[i - 1].bucket == r.bucket &&
        base::day_of(logs.requests[i - 1].ts_ms) == base::day_of(r.ts_ms)) {
      const ReadRequest& before = logs.requests[i - 1];
      EXPECT_LT(std::tie(before.user_id, before.ts_ms, before.domain, before.request_id),
                std::tie(r.user_id, r.ts_ms, r.domain, r.request_id));
    }
  }
  EXPECT_EQ(num_candidates, report.num_candidates);
  EXPECT_EQ(domains, (std::set<std::string>{"ads", "feed", "search", "shop"}));
  for (size_t i = 0; i < logs.events.size(); ++i) {
    const ReadEvent& e = logs.events[i];
    EXPECT_TRUE(event_ids.insert(e.event_id).second) << e.event_id;
    EXPECT_EQ(base::bucket_of_user(e.user_id.value_or(""), 4, 0), e.bucket);
    EXPECT_GE(e.known_ms, e.ts_ms);
    EXPECT_TRUE(!e.request_id || request_ids.contains(*e.request_id));
    EXPECT_EQ(e.value.has_value(), e.action == "purchase");
    if (i > 0 && logs.events[i - 1].bucket == e.bucket &&
        base::day_of(logs.events[i - 1].ts_ms) == base::day_of(e.ts_ms)) {
      const ReadEvent& before = logs.events[i - 1];
      EXPECT_LT(std::tie(before.user_id, before.ts_ms, before.event_id),
                std::tie(e.user_id, e.ts_ms, e.event_id));
    }
  }
}

TEST(Marketplace, TruthIsNoColumnAndNoFileOfTheLogStore) {
  const TemporaryFolder folder;
  const Options options = small_options(folder.path("s"));
  run(options, small_schema(), 1);
  const logstore::LogStore store(options.store);
  EXPECT_EQ(store.days().size(), 2u);
  const base::Day day = store.days()[0];
  std::set<std::string> names;
  const std::function<void(const std::string&, const table::Column&)> walk =
      [&](const std::string& name, const table::Column& column) {
        names.insert(name);
        for (int i = 0; i < column.num_children(); ++i) {
          const bool is_list = column.type() == table::Type::List;
          walk(is_list ? name : column.child_name(i), column.child(i));
        }
      };
  std::vector<std::string> paths = {*store.items_file()};
  for (int bucket = 0; bucket < 4; ++bucket) {
    for (const auto& path :
         {store.requests_file(day, bucket), store.events_file(day, bucket), store.users_file(bucket)}) {
      if (path) paths.push_back(*path);
    }
  }
  for (const std::string& path : paths) {
    EXPECT_THAT(path, ::testing::Not(HasSubstr("truth")));
    for_each_table(path, [&](const table::Table& t) {
      for (int i = 0; i < t.num_columns(); ++i) walk(t.name(i), t.column(i));
    });
  }
  EXPECT_EQ(names,
            (std::set<std::string>{
                "action",   "age_group", "bm25",     "brand",   "candidates", "category",    "context",
                "device",   "domain",    "event_id", "item_id", "known_ms",   "num_ratings", "popularity",
                "position", "price",     "quantity", "query",   "rating",     "request_id",  "score",
                "segment",  "title",     "ts_ms",    "user_id", "value"}));
  const auto truth = table::read_publication(options.store, truth_part(day));
  ASSERT_TRUE(truth);
  EXPECT_EQ(truth->body.at("day_hash"), store.day_hash(day));
}

TEST(Marketplace, RunningAgainReplacesTheDaysWithTheSameBytes) {
  const TemporaryFolder folder;
  const Options options = small_options(folder.path("s"));
  run(options, small_schema(), 1);
  const std::string hash = logstore::LogStore(options.store).day_hash(base::parse_day("2026-03-02").value());
  // What a killed run leaves behind.
  base::make_directories(options.store + "/truth/.aside");
  std::ofstream(options.store + "/truth/.aside/bucket=001.parquet") << "half a file";
  run(options, small_schema(), 2);
  EXPECT_EQ(logstore::LogStore(options.store).day_hash(base::parse_day("2026-03-02").value()), hash);
  EXPECT_FALSE(base::file_exists(options.store + "/truth/.aside"));
  EXPECT_EQ(
      table::read_publication(options.store, truth_part(base::parse_day("2026-03-02").value()))->generation,
      2);
}

TEST(Marketplace, ItemsAppearAndChangeTheirPriceOnTheirDay) {
  const TemporaryFolder folder;
  Options options = small_options(folder.path("s"));
  options.days = 4;
  options.new_item_share = 0.3;
  options.price_change_share = 0.5;
  run(options, small_schema(), 1);
  std::map<std::string, int64_t> valid_from;
  int num_versions = 0;
  std::set<std::string> changed;
  for_each_table(*logstore::LogStore(options.store).items_file(), [&](const table::Table& t) {
    const auto ts = t.find("ts_ms")->int64s();
    for (int64_t row = 0; row < t.num_rows(); ++row) {
      const std::string id(t.find("item_id")->string(row));
      const auto [it, is_first] = valid_from.try_emplace(id, ts[static_cast<size_t>(row)]);
      if (!is_first) {
        EXPECT_GT(ts[static_cast<size_t>(row)], it->second);
        changed.insert(id);
      }
      ++num_versions;
      EXPECT_GE(t.find("rating")->doubles()[static_cast<size_t>(row)], 1.0);
      EXPECT_LE(t.find("rating")->doubles()[static_cast<size_t>(row)], 5.0);
    }
  });
  ASSERT_EQ(valid_from.size(), 1500u);
  const auto num_new = std::count_if(valid_from.begin(), valid_from.end(),
                                     [](const auto& v) { return v.second != logstore::kEver; });
  EXPECT_NEAR(static_cast<double>(num_new), 450.0, 4 * std::sqrt(1500 * 0.3 * 0.7));
  EXPECT_EQ(num_versions, 1500 + static_cast<int>(changed.size()));
  EXPECT_GT(changed.size(), 500u);
  for (const ReadRequest& r : read_logs(options.store).requests) {
    for (const ReadCandidate& c : r.candidates) EXPECT_LE(valid_from.at(c.item_id), r.ts_ms);
  }
}

TEST(Marketplace, NoDefectsWhereTheirRatesAreZero) {
  const TemporaryFolder folder;
  Options options = small_options(folder.path("s"));
  options.anonymous_rate = options.requestless_rate = options.duplicate_rate = options.late_rate = 0;
  options.later_purchase_rate = options.remeet_rate = options.unexposed_meet_rate = 0;
  options.price_change_share = options.new_item_share = 0;
  const Report report = run(options, small_schema(), 1);
  for (const char* key : {"anonymous_requests", "shown_again", "later_purchases", "requestless_events",
                          "duplicate_events", "late_events"}) {
    EXPECT_EQ(report.counts.at(key), 0) << key;
  }
  const ReadLogs logs = read_logs(options.store);
  for (const ReadRequest& r : logs.requests) EXPECT_TRUE(r.user_id);
  for (const ReadEvent& e : logs.events) {
    EXPECT_TRUE(e.user_id && e.request_id && e.known_ms == e.ts_ms && e.domain != "cart_page") << e.event_id;
  }
  EXPECT_GT(logs.events.size(), 50u);
}

TEST(MarketplaceErrors, ASchemaThatIsNotItsOwn) {
  schema::SchemaOptions columns = synth_schema();
  columns.item["price"] = "string";
  EXPECT_EQ(error_of(small_options("unused"), schema::make_log_schema(columns)),
            "schema.item: synth writes other columns than this configuration declares: expected brand = "
            "\"string\", "
            "num_ratings = \"int\", price = \"double\", rating = \"double\", got brand = \"string\", "
            "num_ratings = \"int\", "
            "price = \"string\", rating = \"double\" (examples/synth/run.toml has the whole [schema])");
  columns = synth_schema();
  columns.user.clear();
  EXPECT_THAT(error_of(small_options("unused"), schema::make_log_schema(columns)),
              HasSubstr("schema.user: "));
  columns = synth_schema();
  columns.search_domain = "feed";
  EXPECT_EQ(error_of(small_options("unused"), schema::make_log_schema(columns)),
            "schema.search_domain: \"feed\" is a cross domain of synth");
  EXPECT_FALSE(base::file_exists("unused"));
}

TEST(MarketplaceErrors, OptionsThatDoNotGoTogether) {
  const auto error_with = [](const std::function<void(Options&)>& change) {
    Options options = small_options("unused");
    change(options);
    return error_of(options, small_schema());
  };
  EXPECT_EQ(error_with([](Options& o) { o.store = ""; }), "synth.store: expected a folder, got \"\"");
  EXPECT_EQ(error_with([](Options& o) { o.first_day = "1 March"; }),
            "synth.first_day: expected a day in 1970-01-01 … 2199-12-31, got \"1 March\"");
  EXPECT_EQ(error_with([](Options& o) { o.first_day = "1969-12-31"; }),
            "synth.first_day: expected a day in 1970-01-01 … 2199-12-31, got \"1969-12-31\"");
  EXPECT_EQ(error_with([](Options& o) { o.num_factors = 12; }),
            "synth.num_factors: expected a multiple of 8, got 12");
  EXPECT_EQ(error_with([](Options& o) { o.num_items = 400; }),
            "synth.num_items: expected at least 400 items on the first day (twice the longest candidate "
            "list), got 380 "
            "(400 items, new_item_share 0.05)");
  EXPECT_EQ(error_with([](Options& o) { o.page_size = 50; }),
            "synth.page_size × synth.max_pages: expected at most candidates_per_search (200), got 50 × 5");
  EXPECT_EQ(error_with([](Options& o) { o.num_brands = 2'000; }),
            "synth.num_brands: expected at most num_items (1500), got 2000");
}

TEST(MarketplaceErrors, AStoreOfAnotherWorld) {
  const TemporaryFolder folder;
  Options options = small_options(folder.path("s"));
  options.days = 1;
  run(options, small_schema(), 1);
  const auto before = read_manifests(options.store);
  options.seed = 9;
  EXPECT_EQ(error_of(options, small_schema()),
            "synth.store: " + options.store +
                " was written with other options; expected an empty folder or the same options: the store "
                "has \"seed = 1\", this "
                "run \"seed = 9\"");
  EXPECT_EQ(read_manifests(options.store), before);
  options = small_options(folder.path("foreign"));
  logstore::create_or_check_store(options.store, small_schema());
  logstore::publish_items(options.store, {}, json::Value::object());
  EXPECT_EQ(error_of(options, small_schema()),
            "synth.store: " + options.store +
                " holds a log store that synth did not write; expected an empty folder");
}

// The sections of the shipped example that are synth's.
TEST(MarketplaceExample, DeclaresWhatSynthWrites) {
  std::istringstream file(base::read_file(std::string(US_SOURCE_DIR) + "/examples/synth/run.toml"));
  std::string line, text;
  bool keep = false;
  while (std::getline(file, line)) {
    if (line.starts_with("["))
      keep = line == "[synth]" || line.starts_with("[schema") || line == "[[sequence]]";
    if (keep) text += line + "\n";
  }
  Options options;
  schema::SchemaOptions columns;
  std::vector<schema::SequenceOptions> sequences;
  config::load_text(text, "run.toml", {},
                    {{&section(), &options},
                     {&schema::schema_section(), &columns},
                     {&schema::sequence_section(), &sequences}});
  check_options(options);
  require_synth_schema(schema::make_log_schema(columns));
  const auto proposed = synth_sequences();
  ASSERT_EQ(sequences.size(), proposed.size());
  for (size_t i = 0; i < proposed.size(); ++i) {
    EXPECT_EQ(sequences[i].name, proposed[i].name);
    EXPECT_EQ(sequences[i].actions, proposed[i].actions);
    EXPECT_EQ(sequences[i].domains, proposed[i].domains);
  }
}

TEST(MarketplaceOptions, EveryKeyIsDocumentedAndItsDefaultAllowed) {
  Options options;
  config::load_text(section().resolved(&options), "defaults", {}, {{&section(), &options}});
  for (const config::FieldDoc& doc : section().docs()) EXPECT_GT(doc.meaning.size(), 10u) << doc.key;
  EXPECT_THROW(config::load_text("[synth]\nclick_rate = 1.5\n", "run.toml", {}, {{&section(), &options}}),
               base::UserError);
}

}  // namespace
}  // namespace uniscale::synth
