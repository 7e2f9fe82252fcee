#include "es3/options.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "es3/day_ranges.h"

namespace uniscale::es3 {
namespace {

template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

Options with_days(const std::string& dt, const std::string& from, const std::string& to) {
  Options options;
  options.dt = dt;
  options.from = from;
  options.to = to;
  return options;
}

std::string days_error(const std::string& dt, const std::string& from, const std::string& to) {
  return error_of([&] { days_asked(with_days(dt, from, to)); });
}

TEST(Es3Options, DaysAskedAreADayOrASpan) {
  EXPECT_EQ(days_asked(with_days("2026-03-01", "", "")).size(), 1U);
  const auto span = days_asked(with_days("", "2026-02-27", "2026-03-02"));
  ASSERT_EQ(span.size(), 4U);
  EXPECT_EQ(base::format_day(span[1]), "2026-02-28");
  EXPECT_EQ(base::format_day(span[3]), "2026-03-02");
}

TEST(Es3Options, DaysThatMakeNoSenseAreNamed) {
  EXPECT_EQ(days_error("", "", ""),
            "es3: expected a day (es3.dt) or a span (es3.from and es3.to), got neither");
  EXPECT_EQ(days_error("2026-03-01", "2026-03-01", ""),
            "es3: expected either a day (es3.dt) or a span (es3.from and es3.to), got both");
  EXPECT_EQ(days_error("", "2026-03-01", ""), "es3: expected both ends of the span, es3.to is missing");
  EXPECT_EQ(days_error("", "", "2026-03-01"), "es3: expected both ends of the span, es3.from is missing");
  EXPECT_EQ(days_error("1 March", "", ""), "es3.dt: expected a day like \"2026-03-01\", got \"1 March\"");
  EXPECT_EQ(days_error("2026-02-30", "", ""),
            "es3.dt: expected a day like \"2026-03-01\", got \"2026-02-30\"");
  EXPECT_EQ(days_error("", "2026-03-02", "2026-03-01"),
            "es3: expected es3.from not after es3.to, got 2026-03-02 and 2026-03-01");
  EXPECT_EQ(days_error("", "2000-01-01", "2026-03-01"),
            "es3: expected a span of at most 3660 days, got 9557");
}

TEST(Es3Options, RulesBetweenKeys) {
  Options options;
  EXPECT_NO_THROW(check(options));
  options.native_window = base::Duration{25 * base::kHourMs};
  EXPECT_EQ(error_of([&] { check(options); }),
            "es3.native_window: expected at most the shortest of click_window, cart_window and "
            "purchase_window (1d), got 25h");
  options = {};
  options.history_lookback = base::Duration{400 * base::kDayMs};
  EXPECT_EQ(error_of([&] { check(options); }), "es3.history_lookback: expected 0 to 366d, got 400d");
  options = {};
  options.clock_skew = base::Duration{-1};
  EXPECT_EQ(error_of([&] { check(options); }).substr(0, 36), "es3.clock_skew: expected 0 to 366d, ");
}

TEST(Es3Options, AttributionAndQueriesHaveTheirRules) {
  Options options;
  options.stats_lookback = base::Duration{36 * base::kHourMs};
  EXPECT_EQ(error_of([&] { check(options); }), "es3.stats_lookback: expected whole days, got 36h");
  options = {};
  options.tier_weights = {1, 0.5};
  EXPECT_EQ(error_of([&] { check(options); }), "es3.tier_weights: expected 3 values (own, co, ann), got 2");
  options = {};
  options.confidence = {{"feed/view", 0.5}};
  EXPECT_EQ(error_of([&] { check(options); }),
            "es3.confidence: expected \"domain/click\", \"domain/cart\" or \"domain/purchase\", got "
            "\"feed/view\"");
}

TEST(Es3Options, DefaultsAreThoseOfTheRules) {
  const Options options;
  EXPECT_EQ(options.clock_skew.ms, 5'000);
  EXPECT_EQ(options.native_window.ms, 1'800'000);
  EXPECT_EQ(options.click_window.ms, 86'400'000);
  EXPECT_EQ(options.cart_window.ms, 259'200'000);
  EXPECT_EQ(options.purchase_window.ms, 259'200'000);
  EXPECT_EQ(options.unexposed_ratio, 2.0);
  EXPECT_EQ(options.unexposed_cap, 100);
  EXPECT_EQ(options.unexposed_if_empty, 0);
  EXPECT_EQ(options.hard_share, 0);
  EXPECT_EQ(options.history_length, 50);
  EXPECT_EQ(options.history_lookback.ms, 90 * base::kDayMs);
  EXPECT_EQ(options.history_gap.ms, 0);
  EXPECT_EQ(longest_window(options).ms, 259'200'000);
}

// es3.md §8 for 2026-03-10 with the default windows.
TEST(Es3DayRanges, ReadsWhatTheRulesState) {
  const base::Day day = *base::parse_day("2026-03-10");
  Options options;
  options.attribution = options.searchify = false;
  const DayRanges ranges = ranges_of(options, day);
  EXPECT_EQ(base::format_iso_time(ranges.requests.begin_ms), "2026-03-07T00:00:00.000Z");
  EXPECT_EQ(base::format_iso_time(ranges.requests.end_ms), "2026-03-14T00:30:05.000Z");
  EXPECT_EQ(base::format_iso_time(ranges.labels.begin_ms), "2026-03-09T23:59:55.000Z");
  EXPECT_EQ(base::format_iso_time(ranges.labels.end_ms), "2026-03-14T00:00:00.000Z");
  EXPECT_EQ(base::format_iso_time(ranges.events.begin_ms), "2025-12-10T00:00:00.000Z");
  EXPECT_EQ(base::format_day(ranges.first_day), "2025-12-10");
  EXPECT_EQ(base::format_day(ranges.final_day), "2026-03-14");
  options.history_lookback = base::Duration{base::kHourMs};
  EXPECT_EQ(base::format_iso_time(ranges_of(options, day).events.begin_ms), "2026-03-06T23:59:55.000Z");
}

// The native labels of every request that an event of [D − W − skew, D + 1d + W) may be credited to: one of
// the day may come second to one of W before it.
TEST(Es3DayRanges, StagesReachFurtherBack) {
  const DayRanges ranges = ranges_of({}, *base::parse_day("2026-03-10"));
  EXPECT_EQ(base::format_iso_time(ranges.attributed.begin_ms), "2026-03-06T23:59:55.000Z");
  EXPECT_EQ(base::format_iso_time(ranges.attributed.end_ms), "2026-03-14T00:00:00.000Z");
  EXPECT_EQ(base::format_iso_time(ranges.requests.begin_ms), "2026-03-03T23:59:55.000Z");
  EXPECT_EQ(ranges.labelled.begin_ms, ranges.requests.begin_ms);
  EXPECT_EQ(ranges.labelled.end_ms, ranges.requests.end_ms);
  EXPECT_EQ(base::format_iso_time(ranges.labels.begin_ms), "2026-03-03T23:59:50.000Z");
}

}  // namespace
}  // namespace uniscale::es3
