#include "es3/report.h"

#include <gtest/gtest.h>

namespace uniscale::es3 {
namespace {

// Two requests with 3 exposed and 4 unexposed candidates; one click, one purchase that brings its click.
Draft small_draft() {
  Draft draft;
  draft.rows = {{.request = 4}, {.request = 9}};
  draft.items[0].offsets = {0, 2, 3};
  draft.items[0].candidates = {0, 1, 0};
  draft.items[1].offsets = {0, 4, 4};
  draft.items[1].candidates = {2, 3, 4, 5};
  Label click{.row = 0, .candidate = 1, .domain = "search", .delay_ms = 7000};
  Label bought_click{.row = 1, .candidate = 0, .domain = "search", .delay_ms = base::kHourMs};
  Label purchase = bought_click;
  purchase.task = schema::Task::Purchase;
  draft.labels = {click, bought_click, purchase};
  return draft;
}

const Options kNative{.attribution = false, .searchify = false};

EventCounts small_counts() {
  EventCounts events;
  events.num_events = 5;
  events.add(Verdict::Native, Action::Click);
  events.add(Verdict::Native, Action::Purchase);
  events.add(Verdict::NotExposed, Action::Click);
  events.add(Verdict::NotExposed, Action::Click);
  events.add(Verdict::CrossDomain, Action::Cart);
  events.orphans[static_cast<size_t>(Verdict::NotExposed)][0] = 2;
  return events;
}

DayReport small_report() {
  DayReport report;
  report.day = *base::parse_day("2026-03-01");
  report.is_final = true;
  report.counts = report_draft(small_draft(), kNative, small_counts());
  report.options = kNative;
  report.storage = {.list_bytes = 500, .flat_sorted_bytes = 1000, .flat_shuffled_bytes = 2000};
  return report;
}

TEST(Es3Report, TheTableSaysWhatTheDayIsMadeOf) {
  EXPECT_EQ(
      to_text(small_report()),
      "samples 2026-03-01, final\n"
      "  gates: none set\n"
      "  ! 50.0 % of the search domain's events are orphans (2 of 4); most (2) by not_exposed: their item "
      "is in the list, but not marked as shown: impressions are lost\n"
      "  - attribution is off: events of other domains and orphans label no search sample\n"
      "  - searchified requests are off: clicks of other domains make no rows\n"
      "  - no quality gate is set: nothing but the ledger was checked ([gates] in the configuration)\n"
      "\n"
      "  ladder            requests       samples            clicks             carts purchases\n"
      "  exposed                  2             3   1.00x         2   1.00x         0         1\n"
      "  + unexposed              2             7   2.33x         2   1.00x         0         1\n"
      "\n"
      "  positives source        domain           count   by delay\n"
      "  click     native        search               2   <10s 1, <3h 1\n"
      "  purchase  native        search               1   <3h 1\n"
      "\n"
      "  events of the day                  click      cart  purchase     other\n"
      "  native                                 1         0         1         0\n"
      "    orphan: not_exposed                  2         0         0         0\n"
      "  cross_domain                           0         1         0         0\n"
      "  total                                  5 (every event is in one line above: checked)\n"
      "\n"
      "  orphans of the search domain       click      cart  purchase   whatever became of them\n"
      "  not_exposed                            2         0         0\n"
      "  2 of 4 events of the search domain (50.0 %)\n"
      "\n"
      "  storage: 500 bytes list-wise; the same rows flat: 1000 bytes sorted by request (0.50x), 2000 "
      "bytes shuffled (0.25x)\n");
}

TEST(Es3Report, TheJsonHasTheSameNumbers) {
  const json::Value written = to_json(small_report());
  EXPECT_EQ(written["day"], "2026-03-01");
  EXPECT_EQ(written["state"], "final");
  EXPECT_EQ(written["ladder"][1]["rung"], "+ unexposed");
  EXPECT_EQ(written["ladder"][1]["samples"], 7);
  EXPECT_DOUBLE_EQ(written["ladder"][1]["samples_ratio"].get<double>(), 7.0 / 3);
  EXPECT_EQ(written["positives"][0]["by_delay"]["<10s"], 1);
  EXPECT_EQ(written["orphans"]["not_exposed"]["total"], 2);
  EXPECT_EQ(written["shares"]["orphans"]["part"], 2);
  EXPECT_EQ(written["shares"]["orphans"]["whole"], 4);
  EXPECT_EQ(written["trust"]["verdict"], "gates: none set");
  EXPECT_EQ(written["trust"]["warnings"].size(), 1U);
  EXPECT_EQ(written["positives"][1]["task"], "purchase");
  EXPECT_EQ(written["events"]["not_exposed"]["click"], 2);
  EXPECT_EQ(written["events"]["total"], 5);
  EXPECT_DOUBLE_EQ(written["storage"]["list_to_flat_shuffled"].get<double>(), 0.25);
}

TEST(Es3Report, AnEmptyDayHasNoRatios) {
  DayReport report;
  report.counts = report_draft(Draft{}, kNative, EventCounts{});
  const json::Value written = to_json(report);
  EXPECT_TRUE(written["ladder"][0]["samples_ratio"].is_null());
  EXPECT_FALSE(written["storage"].contains("flat_sorted_bytes"));
  EXPECT_EQ(json::dump(written).empty(), false);
}

TEST(Es3Report, BucketsAddUp) {
  BucketReport sum;
  sum.merge(report_draft(small_draft(), kNative, small_counts()));
  sum.merge(report_draft(small_draft(), kNative, small_counts()));
  EXPECT_EQ(sum.ladder[1].num_samples, 14);
  EXPECT_EQ(sum.events.total(), 10);
  EXPECT_EQ(sum.events.num_events, 10);
  EXPECT_EQ(sum.positives.cells.size(), 2U);
  EXPECT_EQ(sum.num_clicked_searches, 4);  // both rows of both
}

TEST(Es3Report, DelaysFallIntoHalfOpenBins) {
  Draft draft = small_draft();
  draft.labels[0].delay_ms = -1;
  draft.labels[1].delay_ms = 0;
  draft.labels[2].delay_ms = 7 * base::kDayMs;
  const auto cells = report_draft(draft, kNative, EventCounts{}).positives.cells;
  const auto& clicks = cells.at({schema::Task::Click, schema::LabelSource::Native, "search"});
  EXPECT_EQ(clicks[0], 1);
  EXPECT_EQ(clicks[1], 1);
  EXPECT_EQ(cells.at({schema::Task::Purchase, schema::LabelSource::Native, "search"}).back(), 1);
}

TEST(Es3Report, RunsOfDaysAreShortened) {
  const base::Day day = *base::parse_day("2026-03-01");
  EXPECT_EQ(format_days({}), "");
  EXPECT_EQ(format_days({day, day.plus(2), day.plus(3), day.plus(4)}), "2026-03-01, 2026-03-03 … 2026-03-05");
}

}  // namespace
}  // namespace uniscale::es3
