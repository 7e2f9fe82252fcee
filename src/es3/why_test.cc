#include "es3/why.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "es3/detail/test_logs.h"

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
      "  event \"e1\" at 2026-03-01T10:00:07.000Z: click of \"a\" in search, user \"u1\", request_id \"r1\"\n"
      "    native: request \"r1\" exposed the item 7000 ms before; es3.click_window 1d\n"
      "  event \"e2\" at 2026-03-01T10:01:00.000Z: purchase of \"a\" in search, user \"u1\", request_id "
      "\"r1\"\n"
      "    native: request \"r1\" exposed the item 60000 ms before; es3.purchase_window 3d\n"
      "  event \"e6\" at 2026-03-02T10:00:00.001Z: click of \"a\" in search, user \"u1\", request_id \"r1\"\n"
      "    window_passed: 86400001 ms after request \"r1\"; es3.click_window 1d\n");
}

TEST_F(Es3Why, AnUnexposedCandidateSaysWhetherItWasDrawn) {
  options_.attribution = false;
  EXPECT_THAT(why_label(options_, "r1", "m"),
              HasSubstr("candidate \"m\": unexposed, drawn (es3.md §2)\n  click = 0\n"));
  options_.unexposed_ratio = 0;
  EXPECT_THAT(why_label(options_, "r1", "m"),
              HasSubstr("candidate \"m\": unexposed, not drawn (es3.md §2): it is in no sample\n"));
}

TEST_F(Es3Why, AnEventShowsWhereItWent) {
  EXPECT_EQ(why_event(options_, "e2"),
            "event \"e2\" at 2026-03-01T10:01:00.000Z: purchase of \"a\" in search, user \"u1\", request_id "
            "\"r1\"\n"
            "  native: request \"r1\" exposed the item 60000 ms before; es3.purchase_window 3d\n"
            "  held against request \"r1\" at 2026-03-01T10:00:00.000Z, user \"u1\", query \"coat\": 2 "
            "exposed, 1 unexposed\n"
            "  sets purchase and, by closure, click\n");
  EXPECT_THAT(why_event(options_, "e1"), HasSubstr("  sets click\n"));
  EXPECT_THAT(why_event(options_, "e3"),
              HasSubstr("  cross_domain: not native, since it is not of the search domain\n"
                        "  sets no label in this build: only native events do\n"));
  EXPECT_THAT(why_event(options_, "e4"),
              HasSubstr("  not_exposed: request \"r1\" has the candidate, but did not show it\n"));
  EXPECT_THAT(
      why_event(options_, "e7"),
      HasSubstr(
          "  unknown_request: no search request within 3d has this id; an id is not repaired by guessing\n"));
  EXPECT_THAT(why_event(options_, "e8"), HasSubstr("  no_request_found: no search request of this user "
                                                   "exposed the item before; es3.native_window 30m\n"));
  EXPECT_THAT(why_event(options_, "e9"), HasSubstr("  no_request_found: neither request_id nor user\n"));
  EXPECT_EQ(
      why_event(options_, "e10"),
      "event \"e10\" at 2026-03-01T10:00:00.000Z: view of \"b\" in search, user \"u1\", request_id \"r1\"\n"
      "  other_action: carries no label; it feeds the histories that name it\n");
  EXPECT_THAT(why_event(options_, "e11"),
              HasSubstr("  item_not_in_list: request \"r1\" has no such candidate\n"));
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
