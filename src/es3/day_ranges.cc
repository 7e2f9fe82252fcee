#include "es3/day_ranges.h"

#include <algorithm>

namespace uniscale::es3 {

DayRanges ranges_of(const Options& options, base::Day day) {
  const int64_t window = longest_window(options).ms;
  const int64_t skew = options.clock_skew.ms;
  const int64_t lookback = options.history_lookback.ms;
  DayRanges ranges;
  ranges.day = day;
  ranges.has_stages = options.attribution || options.searchify;
  // Whether a candidate of another day was drawn may hang on scores.
  ranges.has_scores = options.attribution && !options.attribute_undrawn && options.hard_share > 0;
  // An event of the day may come second to one that is up to W older, which chose among the requests of its
  // own W before: the ledger has to know.
  const int64_t earlier = ranges.has_stages ? window + skew : 0;
  ranges.samples = {day.begin_ms(), day.end_ms()};
  ranges.attributed = {day.begin_ms() - earlier, day.end_ms() + window};
  ranges.requests = {ranges.attributed.begin_ms - window,
                     day.end_ms() + window + options.page_window.ms + skew};
  ranges.labelled = ranges.has_stages ? ranges.requests : ranges.samples;
  ranges.labels = {ranges.labelled.begin_ms - skew, day.end_ms() + window};
  ranges.ids = {ranges.labels.begin_ms - window, ranges.requests.end_ms};
  ranges.queries = {std::min(day.begin_ms() - lookback, ranges.ids.begin_ms), day.end_ms()};
  ranges.events = {std::min(day.begin_ms() - std::max(lookback, window + skew), ranges.labels.begin_ms),
                   day.end_ms() + window};
  ranges.first_day =
      base::day_of(std::min({ranges.requests.begin_ms, ranges.queries.begin_ms, ranges.events.begin_ms}));
  ranges.last_day = base::day_of(std::max(ranges.requests.end_ms, ranges.events.end_ms) - 1);
  ranges.final_day = ranges.last_day;
  return ranges;
}

}  // namespace uniscale::es3
