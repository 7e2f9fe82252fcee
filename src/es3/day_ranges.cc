#include "es3/day_ranges.h"

#include <algorithm>

namespace uniscale::es3 {

DayRanges ranges_of(const Options& options, base::Day day) {
  const int64_t window = longest_window(options).ms;
  const int64_t skew = options.clock_skew.ms;
  const int64_t lookback = options.history_lookback.ms;
  DayRanges ranges;
  ranges.day = day;
  ranges.samples = {day.begin_ms(), day.end_ms()};
  ranges.requests = {day.begin_ms() - window, day.end_ms() + window + options.page_window.ms + skew};
  ranges.ids = {day.begin_ms() - window - skew, ranges.requests.end_ms};
  ranges.queries = {std::min(day.begin_ms() - lookback, ranges.ids.begin_ms), day.end_ms()};
  ranges.labels = {day.begin_ms() - skew, day.end_ms() + window};
  ranges.events = {day.begin_ms() - std::max(lookback, window + skew), day.end_ms() + window};
  ranges.first_day =
      base::day_of(std::min({ranges.requests.begin_ms, ranges.queries.begin_ms, ranges.events.begin_ms}));
  ranges.last_day = base::day_of(std::max(ranges.requests.end_ms, ranges.events.end_ms) - 1);
  ranges.final_day = ranges.last_day;
  return ranges;
}

}  // namespace uniscale::es3
