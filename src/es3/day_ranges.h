// What a day of samples reads and counts (es3.md §8). Half-open spans of time; values only.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "es3/options.h"

namespace uniscale::es3 {

struct Span {
  int64_t begin_ms = 0;
  int64_t end_ms = 0;
  bool contains(int64_t ts_ms) const { return begin_ms <= ts_ms && ts_ms < end_ms; }
};

struct DayRanges {
  base::Day day;
  Span samples;         // requests that become rows, events that are accounted for: the day itself
  Span requests;        // requests with their lists: [D − W, D + 1d + W + page_window + clock_skew)
  Span ids;             // requests that an event of `labels` may name; before `requests` without their lists
  Span queries;         // requests without their lists: query histories, and `ids`
  Span labels;          // events that may label a row or are accounted for: [D − clock_skew, D + 1d + W)
  Span events;          // events: labels and histories
  base::Day first_day;  // what is opened
  base::Day last_day;
  base::Day final_day;  // the result is final once every day after D up to this one stands
};

DayRanges ranges_of(const Options& options, base::Day day);

}  // namespace uniscale::es3
