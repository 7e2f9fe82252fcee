// Cleaning (es3.md §0): one partition of requests, loose candidates and events in, clean rows out. Results do
// not depend on the order of records. Every rule that acts is counted.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/convert.h"

namespace uniscale::ingest {

struct CleanRules {
  int64_t id_window_ms = 0;
  int64_t page_window_ms = 0;
};

// Joins `loose` to the requests, merges pages, drops reused ids and repeated items. `out` gets one record of
// a request at a time.
void clean_requests(const std::vector<std::string_view>& requests, const std::vector<std::string_view>& loose,
                    const CleanRules& rules, const Count& count,
                    const std::function<void(const RequestRecord&)>& out);
void clean_events(const std::vector<std::string_view>& events, const CleanRules& rules, const Count& count,
                  const std::function<void(const EventRecord&)>& out);

}  // namespace uniscale::ingest
