// A day's report with something in every section, and names that would break a page or a terminal.
#pragma once

#include "es3/report.h"

namespace uniscale::es3 {

inline constexpr std::string_view kHostileDomain = "<script>alert(1)</script>\"'&\x1b[31m\xe2\x80\xae";

inline DayReport full_report() {
  DayReport report;
  report.day = *base::parse_day("2026-03-01");
  report.missing_later = {report.day.plus(1), report.day.plus(2)};
  report.missing_earlier = {report.day.plus(-3)};
  report.click_rate_before = ClickRate{.num_exposed = 1000, .num_clicked = 50};
  report.negatives_per_positive = 19;
  report.counts.ladder = {{"exposed", 100, 1000, {60, 10, 4}},
                          {"+ unexposed", 100, 3000, {60, 10, 4}},
                          {"+ attribution", 100, 3010, {90, 14, 7}},
                          {"+ cross-domain", 140, 3350, {130, 15, 7}}};
  const auto put = [&](schema::Task task, schema::LabelSource source, std::string_view domain, size_t bin,
                       int64_t count) {
    report.counts.positives.cells[{task, source, std::string(domain)}][bin] = count;
  };
  put(schema::Task::Click, schema::LabelSource::Native, "search", 1, 40);
  put(schema::Task::Click, schema::LabelSource::Native, "search", 3, 20);
  put(schema::Task::Click, schema::LabelSource::HlaExposed, "feed", 8, 18);
  put(schema::Task::Click, schema::LabelSource::HlaUnexposed, kHostileDomain, 10, 12);
  put(schema::Task::Click, schema::LabelSource::Cross, "feed", 2, 40);
  put(schema::Task::Purchase, schema::LabelSource::HlaClicked, "shop", 12, 3);
  EventCounts& events = report.counts.events;
  events.cells[static_cast<size_t>(Verdict::Native)] = {60, 10, 4, 0};
  events.cells[static_cast<size_t>(Verdict::Attributed)] = {30, 4, 3, 0};
  events.cells[static_cast<size_t>(Verdict::CrossPositive)] = {40, 0, 0, 0};
  events.cells[static_cast<size_t>(Verdict::NoQuery)] = {60, 0, 0, 0};
  events.cells[static_cast<size_t>(Verdict::NotExposed)] = {5, 0, 0, 0};
  events.cells[static_cast<size_t>(Verdict::OtherAction)] = {0, 0, 0, 7};
  events.orphans[static_cast<size_t>(Verdict::NotExposed)] = {26, 0, 0, 0};
  events.num_events = events.total();
  CrossCounts& cross = report.counts.cross;
  cross.num_positives = 110;
  cross.no_negative = 10;
  cross.no_query = 60;
  cross.by_tier = {8, 12, 20};
  cross.covered = {8, 15, 40};
  cross.beside_own = {8, 4, 5};
  cross.same_as_own = {8, 3, 1};
  cross.ann_similarity[4] = 15;
  cross.ann_similarity[7] = 5;
  cross.num_negatives = 300;
  cross.num_rows = 40;
  report.storage = {
      .list_bytes = 1'500'000, .flat_sorted_bytes = 3'000'000, .flat_shuffled_bytes = 6'000'000};
  report.rules = "[es3]\nclick_window = \"24h\" # <b>\n";
  return report;
}

}  // namespace uniscale::es3
