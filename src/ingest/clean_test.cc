// Cleaning and merging at ingest (es3.md §0) as seen in the store, and what a second run over a day does.
#include "ingest/ingest_run_test.h"

namespace uniscale::ingest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kNine = 1772355600000;  // 2026-03-01T09:00:00Z
constexpr int64_t kMinute = 60'000, kHour = 3'600'000;

class Cleaning : public IngestRun {
 protected:
  static std::string request(const std::string& id, int64_t ts_ms, const std::string& items,
                             const std::string& domain = "search") {
    return "{\"request_id\":\"" + id + "\",\"domain\":\"" + domain +
           "\",\"user_id\":\"u\",\"ts_ms\":" + std::to_string(ts_ms) + ",\"candidates\":[" + items + "]}\n";
  }
  static std::string item(const std::string& id, int position = 0) {
    return "{\"item_id\":\"" + id + "\"" + (position > 0 ? ",\"position\":" + std::to_string(position) : "") +
           "}";
  }
  static std::string event(const std::string& id, int64_t ts_ms, const std::string& item = "a") {
    return id + ",search,click,u," + item + "," + std::to_string(ts_ms) + "\n";
  }
  const std::string head_ = "event_id,domain,action,user_id,item_id,ts_ms\n";
};

TEST_F(Cleaning, PagesMergeUpToTheWindowThenTheIdIsReusedThenItIsAnother) {
  const std::string first = request("r", kNine, item("a", 1));
  EXPECT_EQ(run_text("requests", "ndjson", first + request("r", kNine + 30 * kMinute, item("b", 2))).cleaned,
            (Counts{{"page_merged", 1}}));
  const Report reused =
      run_text("requests", "ndjson", first + request("r", kNine + 30 * kMinute + 1, item("b", 2)));
  EXPECT_EQ(reused.cleaned, (Counts{{"request_id_reused", 1}}));
  EXPECT_EQ(reused.num_requests, 1);
  EXPECT_EQ(reused.num_candidates, 1);
  EXPECT_EQ(run_text("requests", "ndjson", first + request("r", kNine + 48 * kHour, item("b"))).cleaned,
            (Counts{{"request_id_reused", 1}}));
  const Report another =
      run_text("requests", "ndjson", first + request("r", kNine + 48 * kHour + 1, item("b")));
  EXPECT_EQ(another.cleaned, Counts{});
  EXPECT_EQ(another.num_requests, 2);
  // Another domain is another request.
  EXPECT_EQ(
      run_text("requests", "ndjson", first + request("r", kNine + kMinute, item("b"), "feed")).num_requests,
      2);
}

TEST_F(Cleaning, OfAnItemTwiceInAListTheFirstShownIsKept) {
  const Report report =
      run_text("requests", "ndjson",
               request("r", kNine, item("a") + "," + item("b", 1) + "," + item("a", 2) + "," + item("b", 3)));
  EXPECT_EQ(report.cleaned, (Counts{{"duplicate_item_in_list", 2}}));
  EXPECT_EQ(report.num_candidates, 2);
  int seen = 0;
  const logstore::LogStore store(options_.store);
  for (int bucket = 0; bucket < schema_.num_buckets; ++bucket) {
    const auto path = store.requests_file(*base::parse_day("2026-03-01"), bucket);
    if (!path) continue;
    const table::Table rows = table::ParquetReader(*path).read_row_group(0);
    const table::Column& items = rows.find("candidates")->child(0);
    EXPECT_EQ(items.find_child("item_id")->string(0), "b");
    EXPECT_EQ(items.find_child("position")->int32s()[0], 1);
    EXPECT_EQ(items.find_child("item_id")->string(1), "a");
    EXPECT_EQ(items.find_child("position")->int32s()[1], 2);
    ++seen;
  }
  EXPECT_EQ(seen, 1);
}

TEST_F(Cleaning, CopiesOfAnEventAreOneWithinTheWindow) {
  const Report report =
      run_text("events", "csv",
               head_ + event("e", kNine + 48 * kHour, "later") + event("e", kNine, "first") +
                   event("e", kNine, "other") + event("e", kNine + 96 * kHour + 1, "another"));
  EXPECT_EQ(report.cleaned, (Counts{{"duplicate_event", 2}}));
  EXPECT_THAT(texts("events", "item_id", "2026-03-01"), ElementsAre("first"));
  EXPECT_THAT(texts("events", "item_id", "2026-03-05"), ElementsAre("another"));
}

TEST_F(Cleaning, ItemVersionsOfFilesAndOfEarlierRunsAreMerged) {
  put("items/1.csv", "item_id,ts_ms,title\nb,,plain b\na,1772355600000,newer a\n");
  put("items/2.csv", "item_id,ts_ms,title\na,,first a\nb,,plain b\nc,,c\n");
  sources_ = {{.name = "s", .table = "items", .format = "csv", .path = folder_ + "/items"}};
  Report report = run();
  EXPECT_EQ(report.num_items, 4);
  EXPECT_EQ(report.cleaned, (Counts{{"duplicate_version", 1}}));
  EXPECT_THAT(item_texts("title"), ElementsAre("first a", "newer a", "plain b", "c"));
  // A later run adds; of two texts of one (id, time) the smaller bytes win.
  report = run_text("items", "csv", "item_id,ts_ms,title\nc,,b\nd,,d\n");
  EXPECT_EQ(report.num_items, 5);
  EXPECT_EQ(report.cleaned, (Counts{{"duplicate_version", 1}}));
  EXPECT_THAT(item_texts("title"), ElementsAre("first a", "newer a", "plain b", "b", "d"));
}

TEST_F(Cleaning, UserVersionsOfEarlierRunsStay) {
  schema_.user = {{.name = "tier", .type = schema::ValueType::String}};
  EXPECT_EQ(run_text("users", "csv", "user_id,ts_ms,tier\nu1,,gold\nu2,,silver\n").num_users, 2);
  const Report report = run_text("users", "csv", "user_id,ts_ms,tier\nu1,1772355600000,basic\nu2,,silver\n");
  EXPECT_EQ(report.num_users, 3);
  EXPECT_EQ(report.cleaned, (Counts{{"duplicate_version", 1}}));
}

// The same rows through files: parts are cut again, buckets and tables are sorted in runs.
TEST_F(Cleaning, LittleMemoryGivesTheSameBytes) {
  schema_.user = {{.name = "tier", .type = schema::ValueType::String}};
  std::string requests, events = head_, items = "item_id,ts_ms,title\n", users = "user_id,tier\n";
  for (int i = 0; i < 300; ++i) {
    const std::string n = std::to_string(i * 7919 % 300);
    requests += "{\"request_id\":\"r" + n + "\",\"domain\":\"search\",\"user_id\":\"u" +
                std::to_string(i % 40) + "\",\"ts_ms\":" + std::to_string(kNine + i) + ",\"candidates\":[" +
                item("i" + n, 1) + "," + item("b") + "]}\n";
    events +=
        "e" + n + ",search,click,u" + std::to_string(i % 40) + ",b," + std::to_string(kNine + i % 17) + "\n";
    items += "i" + n + "," + (i % 3 == 0 ? std::to_string(kNine) : "") + ",title " + n + "\n";
    users += "u" + std::to_string(i % 40) + ",tier " + std::to_string(i % 5) + "\n";
  }
  sources_ = {{.name = "r", .table = "requests", .format = "ndjson", .path = put("r.ndjson", requests)},
              {.name = "e", .table = "events", .format = "csv", .path = put("e.csv", events)},
              {.name = "i", .table = "items", .format = "csv", .path = put("i.csv", items)},
              {.name = "u", .table = "users", .format = "csv", .path = put("u.csv", users)}};
  schema_.num_buckets = 2;
  const Report expected = run();
  EXPECT_EQ(expected.num_requests, 300);
  const auto bytes = data_of(options_.store);
  options_.store = folder_ + "/little";
  options_.partitions = 2;
  options_.task_bytes = 1024;
  const Report little = run(2);
  EXPECT_EQ(little.cleaned, expected.cleaned);
  EXPECT_EQ(data_of(options_.store), bytes);
  for (const auto& entry : std::filesystem::directory_iterator(options_.store))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".spill-")) << entry.path();
}

TEST_F(Cleaning, OneDayAloneLeavesTheOthersAndCountsTheirRows) {
  const std::string text =
      head_ + event("e1", kNine) + event("e2", kNine + 24 * kHour) + event("e3", kNine + 48 * kHour);
  options_.dt = "2026-03-02";
  const Report report = run_text("events", "csv", text);
  EXPECT_EQ(report.cleaned, (Counts{{"other_day", 2}}));
  EXPECT_EQ(report.days, std::vector<std::string>{"2026-03-02"});
  EXPECT_THAT(texts("events", "event_id", "2026-03-02"), ElementsAre("e2"));
}

// The day's rows are gone from the sources: so are they from the store.
TEST_F(Cleaning, ADayAskedForWithoutRowsBecomesEmpty) {
  run_text("events", "csv", head_ + event("e1", kNine) + event("e2", kNine + 24 * kHour));
  options_.dt = "2026-03-01";
  const Report report = run_text("events", "csv", head_ + event("e2", kNine + 24 * kHour));
  EXPECT_EQ(report.days, std::vector<std::string>{"2026-03-01"});
  EXPECT_EQ(report.empty_days, std::vector<std::string>{"2026-03-01"});
  EXPECT_THAT(report.to_text(), HasSubstr("2026-03-01 is empty: no rows in the sources"));
  EXPECT_TRUE(texts("events", "event_id", "2026-03-01").empty());
  EXPECT_THAT(texts("events", "event_id", "2026-03-02"), ElementsAre("e2"));
  EXPECT_TRUE(logstore::LogStore(options_.store).has_day(*base::parse_day("2026-03-01")));
  // Items say nothing about a day.
  options_.dt = "2026-03-02";
  EXPECT_TRUE(run_text("items", "csv", "item_id\na\n").days.empty());
  EXPECT_THAT(texts("events", "event_id", "2026-03-02"), ElementsAre("e2"));
}

TEST_F(Cleaning, ABadFileIsSkippedWholeOnlyIfAsked) {
  put("raw/1.csv", head_ + event("e1", kNine));
  put("raw/2.csv.gz", "no gzip, but rows: " + head_ + event("e2", kNine));
  put("raw/3.csv", "event_id,domain,action,item_id\n");
  sources_ = {{.name = "s", .table = "events", .format = "csv", .path = folder_ + "/raw"}};
  EXPECT_THAT(error_of_run(), HasSubstr("/raw/"));
  EXPECT_TRUE(logstore::LogStore(options_.store).days().empty());
  options_.on_bad_file = "skip";
  const Report report = run(2);
  EXPECT_GE(report.rejected.at("bad_file"), 1);
  EXPECT_EQ(report.num_events, 1);
  EXPECT_THAT(texts("events", "event_id", "2026-03-01"), ElementsAre("e1"));
}

TEST_F(Cleaning, UnknownItemsAreKeptAndCounted) {
  sources_ = {{.name = "i", .table = "items", .format = "csv", .path = put("i.csv", "item_id\na\n")},
              {.name = "r",
               .table = "requests",
               .format = "ndjson",
               .path = put("r.ndjson", request("r", kNine, item("a", 1) + "," + item("x", 2)))}};
  const Report report = run();
  EXPECT_EQ(report.repaired, (Counts{{"unknown_item_kept", 1}}));
  EXPECT_EQ(report.num_candidates, 2);
}

}  // namespace
}  // namespace uniscale::ingest
