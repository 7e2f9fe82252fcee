#include "es3/why.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "es3/detail/test_logs.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

using testing::HasSubstr;

constexpr base::Day kDay{20'513};  // 2026-03-01
const int64_t kTen = kDay.begin_ms() + 10 * base::kHourMs;

PlainEvent event(const std::string& id, const std::string& domain, const std::string& action,
                 std::optional<std::string> user_id, const std::string& item_id, int64_t ts_ms,
                 std::optional<std::string> request_id) {
  return {id, domain, action, std::move(user_id), item_id, ts_ms, ts_ms, std::move(request_id)};
}

// u1 sees a and b, and m is a candidate that was not shown.
class Es3Why : public testing::Test {
 protected:
  Es3Why() {
    PlainLogs logs;
    logs.requests = {
        {"r1", "search", "u1", kTen, "coat", {}, {{"a", 1, {}, {}}, {"b", 2, {}, {}}, {"m", {}, {}, {}}}}};
    logs.events = {event("e1", "search", "click", "u1", "a", kTen + 7000, "r1"),
                   event("e2", "search", "purchase", "u1", "a", kTen + 60'000, "r1"),
                   event("e3", "feed", "click", "u1", "b", kTen + 5000, std::nullopt),
                   event("e4", "search", "click", "u1", "m", kTen + 5000, "r1"),
                   event("e5", "search", "click", "u1", "a", kTen - 6000, "r1"),
                   event("e6", "search", "click", "u1", "a", kTen + base::kDayMs + 1, "r1"),
                   event("e7", "search", "cart", "u1", "b", kTen, "r9"),
                   event("e8", "search", "click", "u1", "b", kTen + 3 * base::kHourMs, std::nullopt),
                   event("e9", "search", "click", std::nullopt, "b", kTen, std::nullopt),
                   event("e10", "search", "view", "u1", "b", kTen, "r1"),
                   event("e11", "search", "click", "u1", "zz", kTen, "r1")};
    schema::LogSchema schema;
    schema.num_buckets = 2;
    options_.store = folder_.path("store");
    write_store(logs, schema, {kDay, kDay.plus(1)}, options_.store);
  }

  std::string error_of(const std::function<void()>& action) const {
    try {
      action();
    } catch (const base::UserError& error) {
      std::string text = error.what();
      if (text.starts_with(options_.store)) text.replace(0, options_.store.size(), "STORE");
      return text;
    }
    return "no error";
  }

  TemporaryFolder folder_;
  Options options_;
};

TEST_F(Es3Why, ALabelShowsItsRequestItsSourceAndEveryEvent) {
  EXPECT_EQ(
      why_label(options_, "r1", "a"),
      "request \"r1\" at 2026-03-01T10:00:00.000Z, user \"u1\", query \"coat\": 2 exposed, 1 unexposed\n"
      "candidate \"a\": exposed at position 1\n"
      "  click = 1: native from \"search\", 7000 ms after the request, weight 1\n"
      "  cart = 0\n"
      "  purchase = 1: native from \"search\", 60000 ms after the request, weight 1\n"
      "events on this item by this user or naming this request: 4\n"
      "  event \"e5\" at 2026-03-01T09:59:54.000Z: click of \"a\" in search, user \"u1\", request_id \"r1\"\n"
      "    before_request: 6000 ms before request \"r1\"; es3.clock_skew 5s\n"
      "    labels nothing\n"
      "      no search sample of this user and item; es3.click_window 1d\n"
      "  event \"e1\" at 2026-03-01T10:00:07.000Z: click of \"a\" in search, user \"u1\", request_id \"r1\"\n"
      "    native: request \"r1\" exposed the item 7000 ms before; es3.click_window 1d\n"
      "  event \"e2\" at 2026-03-01T10:01:00.000Z: purchase of \"a\" in search, user \"u1\", request_id "
      "\"r1\"\n"
      "    native: request \"r1\" exposed the item 60000 ms before; es3.purchase_window 3d\n"
      "  event \"e6\" at 2026-03-02T10:00:00.001Z: click of \"a\" in search, user \"u1\", request_id \"r1\"\n"
      "    window_passed: 86400001 ms after request \"r1\"; es3.click_window 1d\n"
      "    labels nothing\n"
      "      no search sample of this user and item; es3.click_window 1d\n");
}

TEST_F(Es3Why, AnUnexposedCandidateSaysWhetherItWasDrawn) {
  options_.attribution = false;
  EXPECT_THAT(why_label(options_, "r1", "m"),
              HasSubstr("candidate \"m\": unexposed, drawn (es3.md §2)\n  click = 0\n"));
  options_.unexposed_ratio = 0;
  EXPECT_THAT(why_label(options_, "r1", "m"),
              HasSubstr("candidate \"m\": unexposed, not drawn (es3.md §2): it is in no sample\n"));
  // e4 named the request: an orphan of search that the undrawn candidate takes in.
  options_.attribution = true;
  EXPECT_THAT(why_label(options_, "r1", "m"),
              HasSubstr("candidate \"m\": unexposed, not drawn, but credited (es3.md §3.3)\n"
                        "  click = 1: hla_unexposed from \"search\", 5000 ms after the request, weight 1\n"));
}

TEST_F(Es3Why, AnEventShowsWhereItWent) {
  EXPECT_EQ(why_event(options_, "e2"),
            "event \"e2\" at 2026-03-01T10:01:00.000Z: purchase of \"a\" in search, user \"u1\", request_id "
            "\"r1\"\n"
            "  native: request \"r1\" exposed the item 60000 ms before; es3.purchase_window 3d\n"
            "  in request \"r1\" at 2026-03-01T10:00:00.000Z, user \"u1\", query \"coat\": 2 "
            "exposed, 1 unexposed\n"
            "  sets purchase and, by closure, click\n");
  EXPECT_THAT(why_event(options_, "e1"), HasSubstr("  sets click\n"));
  EXPECT_EQ(
      why_event(options_, "e3"),
      "event \"e3\" at 2026-03-01T10:00:05.000Z: click of \"b\" in feed, user \"u1\", request_id null\n"
      "  attributed: labels the item in request \"r1\" as hla_exposed, 5000 ms after it, weight 1\n"
      "    sample in request \"r1\" at 2026-03-01T10:00:00.000Z: exposed, no native click by then; query "
      "\"coat\" is relevant (es3.relevance_gate either)\n"
      "  in request \"r1\" at 2026-03-01T10:00:00.000Z, user \"u1\", query \"coat\": 2 exposed, 1 "
      "unexposed\n"
      "  sets click\n");
  EXPECT_THAT(why_event(options_, "e4"),
              HasSubstr("  not_exposed: request \"r1\" has the candidate, but did not show it\n"
                        "  attributed: labels the item in request \"r1\" as hla_unexposed"));
  EXPECT_THAT(
      why_event(options_, "e7"),
      HasSubstr(
          "  unknown_request: no search request within 3d has this id; an id is not repaired by guessing\n"
          "  attributed: labels the item in request \"r1\" as hla_exposed, 0 ms after it"));
  EXPECT_THAT(why_event(options_, "e8"),
              HasSubstr("  no_request_found: no search request of this user "
                        "exposed the item before; es3.native_window 30m\n"
                        "  duplicate_credit: an earlier click already labels the item in request \"r1\"\n"));
  EXPECT_THAT(why_event(options_, "e9"), HasSubstr("  no_request_found: neither request_id nor user\n"
                                                   "  labels nothing\n"));
  EXPECT_EQ(
      why_event(options_, "e10"),
      "event \"e10\" at 2026-03-01T10:00:00.000Z: view of \"b\" in search, user \"u1\", request_id \"r1\"\n"
      "  other_action: carries no label; it feeds the histories that name it\n");
  EXPECT_THAT(why_event(options_, "e11"),
              HasSubstr("  item_not_in_list: request \"r1\" has no such candidate\n"));
  options_.attribution = false;
  EXPECT_THAT(why_event(options_, "e4"), HasSubstr("  labels nothing\n    es3.attribution is off\n"));
}

TEST_F(Es3Why, AnEventThatFindsASampleWithItsLabelIsUsedUp) {
  PlainLogs logs;
  logs.requests = {{"r1", "search", "u1", kTen, "coat", {}, {{"a", 1, {}, {}}}}};
  logs.events = {event("n1", "search", "click", "u1", "a", kTen + 7000, "r1"),
                 event("e1", "feed", "click", "u1", "a", kTen + 9000, std::nullopt)};
  schema::LogSchema schema;
  schema.num_buckets = 2;
  options_.store = folder_.path("labelled");
  write_store(logs, schema, {kDay}, options_.store);
  EXPECT_THAT(why_event(options_, "e1"),
              HasSubstr("  already_labelled: request \"r1\" has this label by native events\n"
                        "    sample in request \"r1\" at 2026-03-01T10:00:00.000Z: exposed, natively clicked "
                        "by then; query \"coat\" is relevant (es3.relevance_gate either); click is native "
                        "already\n"));
}

// u1 once clicked a under "coat"; the feed shows it again.
class Es3WhyCross : public Es3Why {
 protected:
  Es3WhyCross() {
    PlainLogs logs;
    const int64_t before = kTen - 3 * base::kDayMs;
    const int64_t hour = base::kHourMs;
    logs.requests = {{"h1", "search", "u1", before, "coat", {}, {{"a", 1, {}, {}}}},
                     {"f1", "feed", "u1", kTen, {}, {}, {{"a", 1, {}, {}}, {"n", 2, {}, {}}}},
                     {"f2", "feed", "u1", kTen + hour, {}, {}, {{"a", 1, {}, {}}}},
                     {"f3", "feed", "u1", kTen + 2 * hour, {}, {}, {{"b", 1, {}, {}}, {"n", 2, {}, {}}}}};
    logs.events = {event("n1", "search", "click", "u1", "a", before + 1000, "h1"),
                   event("e1", "feed", "click", "u1", "a", kTen + 10'000, "f1"),
                   event("p1", "shop", "cart", "u1", "a", kTen + hour / 2, std::nullopt),
                   event("e2", "feed", "click", "u1", "a", kTen + hour + 10'000, "f2"),
                   event("e3", "feed", "click", "u1", "b", kTen + 2 * hour + 10'000, "f3"),
                   event("e4", "feed", "click", "u1", "a", kTen + 5 * hour, "f9")};
    for (const char* item_id : {"a", "b", "n"})
      logs.items.push_back({item_id, logstore::kEver, std::nullopt, "Coats", {}, {}});
    schema::LogSchema schema;
    schema.num_buckets = 2;
    options_.store = folder_.path("cross");
    options_.samples = folder_.path("samples");
    std::vector<base::Day> days;
    for (int i = -3; i <= 0; ++i) days.push_back(kDay.plus(i));
    write_store(logs, schema, days, options_.store);
  }
};

TEST_F(Es3WhyCross, AClickShowsWhatItsOwnRequestMadeOfIt) {
  EXPECT_EQ(
      why_event(options_, "e1"),
      "event \"e1\" at 2026-03-01T10:00:10.000Z: click of \"a\" in feed, user \"u1\", request_id \"f1\"\n"
      "  cross_positive: located in request \"f1\" of feed; positive of \"x:feed:f1:1670dfb4b13f0546\" "
      "with query \"coat\" by tier own, score 1, beside 1 negatives\n"
      "    no search sample of this user and item; es3.click_window 1d\n"
      "  in request \"f1\" at 2026-03-01T10:00:00.000Z, user \"u1\", query null: 2 exposed, 0 "
      "unexposed\n");
  EXPECT_THAT(why_event(options_, "p1"),
              HasSubstr("  cross_label: labels the latest click on the item, located "
                        "in request \"f1\", 1800000 ms after it\n"));
  EXPECT_THAT(why_event(options_, "e2"),
              HasSubstr("  no_negative: nothing shown in request \"f2\" without an event is similar to the "
                        "item; es3.negative_similarity 0.3\n"));
  EXPECT_THAT(why_event(options_, "e3"), HasSubstr("  no_query: located in request \"f3\", but none of the "
                                                   "tiers own, co and ann has a query for it\n"));
  EXPECT_THAT(why_event(options_, "e4"),
              HasSubstr("  no_request: no request of feed holds it: unknown_request\n"));
}

TEST_F(Es3WhyCross, ASearchifiedRowShowsItsQueryAndEveryEvent) {
  const std::string row = "x:feed:f1:1670dfb4b13f0546";
  EXPECT_THAT(
      why_label(options_, row, "a"),
      HasSubstr("searchified request of request \"f1\" at 2026-03-01T10:00:00.000Z, user \"u1\", query "
                "null: 2 exposed, 0 unexposed; query \"coat\" by tier own, score 1\n"
                "item \"a\": cross_positive at position 1\n"
                "  click = 1: cross from \"feed\", 10000 ms after the request, weight 1\n"
                "  cart = 1: cross from \"shop\", 1800000 ms after the request, weight 1\n"
                "  purchase = 0\n"
                "events on this item by this user or naming this request: 5\n"));
  EXPECT_THAT(why_label(options_, row, "n"), HasSubstr("item \"n\": cross_negative at position 2\n"));
  EXPECT_EQ(error_of([&] { why_label(options_, row, "zz"); }),
            "STORE: searchified request \"x:feed:f1:1670dfb4b13f0546\" has no item \"zz\" (2 in its list)");
  EXPECT_EQ(error_of([&] { why_label(options_, "x:feed:f1:0000000000000000", "a"); }),
            "STORE: no search request \"x:feed:f1:0000000000000000\" from 2026-02-26 to 2026-03-01");
}

// The build asks embeddings of queries first, where the shop supplies them: so does `why`, and it names the
// query of the row that the build wrote.
TEST_F(Es3Why, AQueryByEmbeddingsIsTheOneOfTheBuild) {
  PlainLogs logs;
  const int64_t before = kTen - base::kDayMs;
  for (const char* query : {"coat", "lamp"}) {
    for (const char* suffix : {"1", "2"}) {
      logs.requests.push_back(
          {std::string(query) + suffix, "search", "u2", before, query, {}, {{"z", 1, {}, {}}}});
    }
  }
  logs.requests.push_back({"f1", "feed", "u1", kTen, {}, {}, {{"a", 1, {}, {}}, {"n", 2, {}, {}}}});
  logs.events = {event("e1", "feed", "click", "u1", "a", kTen + 10'000, "f1")};
  // By its title a is a coat, by its embedding a lamp.
  logs.items = {{"a", logstore::kEver, "coat", "Coats", {}, {0, 1}},
                {"n", logstore::kEver, "coats", "Coats", {}, {}}};
  schema::LogSchema schema;
  schema.num_buckets = 2;
  options_.store = folder_.path("embedded");
  options_.samples = folder_.path("samples");
  write_store(logs, schema, {kDay.plus(-1), kDay}, options_.store);
  table::Table rows;
  table::StringVector texts;
  for (const char* query : {"coat", "lamp"}) texts.push(query);
  rows.add("query", table::make_strings(std::move(texts)));
  rows.add("embedding", table::make_list({0, 2, 4}, table::make_floats({1, 0, 0.1F, 1})));
  const std::string file = folder_.path("queries.parquet");
  table::ParquetWriter writer(file, {});
  writer.write(rows);
  writer.close();

  const auto built_query = [&] {
    BuildRequest request;
    request.options = options_;
    request.options.dt = "2026-03-01";
    build(request);
    return read_samples(options_.samples, kDay, schema, {}).at(0).query.value();
  };
  for (const char* index : {"exact", "approximate"}) {
    options_.ann_index = index;
    options_.query_embeddings.clear();
    EXPECT_EQ(built_query(), "coat");
    EXPECT_THAT(why_event(options_, "e1"), HasSubstr("with query \"coat\" by tier ann, score 1,")) << index;
    options_.query_embeddings = file;
    EXPECT_EQ(built_query(), "lamp");
    EXPECT_THAT(why_event(options_, "e1"), HasSubstr("with query \"lamp\" by tier ann, score 0.99")) << index;
  }
}

TEST_F(Es3Why, WhatIsNotThereIsNamed) {
  EXPECT_EQ(error_of([&] { why_label(options_, "r2", "a"); }),
            "STORE: no search request \"r2\" from 2026-03-01 to 2026-03-02");
  EXPECT_EQ(error_of([&] { why_label(options_, "r1", "q"); }),
            "STORE: request \"r1\" has no candidate \"q\" (3 in its list)");
  EXPECT_EQ(error_of([&] { why_event(options_, "e0"); }),
            "STORE: no event \"e0\" from 2026-03-01 to 2026-03-02");
  options_.dt = "2026-03-02";
  EXPECT_EQ(error_of([&] { why_label(options_, "r1", "a"); }),
            "STORE: no search request \"r1\" from 2026-03-02 to 2026-03-02");
  options_.dt = "2026-03-07";
  EXPECT_EQ(error_of([&] { why_event(options_, "e1"); }), "STORE: not ingested yet: 2026-03-07");
  options_.dt = "today";
  EXPECT_EQ(error_of([&] { why_event(options_, "e1"); }),
            "es3.dt: expected a day like \"2026-03-01\", got \"today\"");
}

}  // namespace
}  // namespace uniscale::es3
