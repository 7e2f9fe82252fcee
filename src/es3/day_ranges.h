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
  bool has_rows = true;  // all columns of the day's requests are read, for packing
  bool has_stages =
      false;  // attribution or searchified requests are asked for: cross-domain requests are read
  bool has_scores = false;  // the scores of all lists are read, not of the day alone
  Span samples;             // requests that become rows, events that are accounted for: the day itself
  Span requests;    // requests with their lists: [D − 2W − clock_skew, D + 1d + W + page_window + clock_skew)
  Span ids;         // requests that an event of `labels` may name; before `requests` without their lists
  Span queries;     // search requests without their lists: query histories, and `ids`
  Span labels;      // events that may label a request of `labelled` or are accounted for
  Span labelled;    // requests whose native labels are found
  Span attributed;  // events that may be credited or located: [D − W − clock_skew, D + 1d + W)
  Span events;      // events: labels and histories
  base::Day first_day;  // what is opened
  base::Day last_day;
  base::Day final_day;  // the result is final once every day after D up to this one stands
};

// Without stages only the day's own requests are labelled, and W before it is enough. With them, who gets a
// credit depends on the native labels of all requests within W (es3.md §8), and whether an event of the day
// gets one on the events of W before it, which chose among the requests of W before them; clock_skew is added
// once more: an event stamped just before the day may belong to a request of the day (docs/decisions/es3.md).
DayRanges ranges_of(const Options& options, base::Day day);

}  // namespace uniscale::es3
