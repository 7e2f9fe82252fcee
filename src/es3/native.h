// Native labels of search requests (es3.md §1): which event belongs to which request, and why an event
// belongs to none. Pure functions over one bucket's logs; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "es3/bucket_logs.h"
#include "es3/options.h"

namespace uniscale::es3 {

// Where an event went. All but Native, CrossDomain and OtherAction are the orphan causes of §1.
enum class Verdict : int8_t {
  Native = 0,
  UnknownRequest,
  ItemNotInList,
  NotExposed,
  BeforeRequest,
  WindowPassed,
  NoRequestFound,
  CrossDomain,  // of another domain: never native
  OtherAction,  // neither click, cart nor purchase: feeds histories only
};
inline constexpr int kNumVerdicts = 9;
inline constexpr std::array<std::string_view, kNumVerdicts> kVerdictNames = {
    "native",        "unknown_request",  "item_not_in_list", "not_exposed", "before_request",
    "window_passed", "no_request_found", "cross_domain",     "other_action"};
inline constexpr int kNumActions = 4;
inline constexpr std::array<std::string_view, kNumActions> kActionNames = {"click", "cart", "purchase",
                                                                           "other"};

// Events of the day by verdict and action: every event is in exactly one cell.
struct EventCounts {
  std::array<std::array<int64_t, kNumActions>, kNumVerdicts> cells{};
  int64_t num_events = 0;  // counted on their own, to check the cells against

  void add(Verdict verdict, Action action) {
    ++cells[static_cast<size_t>(verdict)][static_cast<size_t>(action)];
  }
  void merge(const EventCounts& other);
  int64_t of(Verdict verdict) const;
  int64_t total() const;
};

// Of several requests with one id the event belongs to the latest that is not later than ts + clock_skew,
// else to the earliest; ties: smaller user_id. `limit_ms` = ts + clock_skew. True if (a_ts, a_user) comes
// before (b_ts, b_user) in that choice.
bool is_better_match(int64_t limit_ms, int64_t a_ts, std::string_view a_user, int64_t b_ts,
                     std::string_view b_user);

// request_id → rows, over the requests of one bucket.
class RequestIds {
 public:
  explicit RequestIds(const BucketLogs& logs, const Span& span);
  // Calls visit(request index) for every request with these bytes.
  template <class Visit>
  void for_each(std::string_view request_id, const Visit& visit) const {
    const uint64_t hash = base::hash_bytes(request_id, 0);
    for (size_t i = lower_bound(hash); i < entries_.size() && entries_[i].first == hash; ++i) {
      if (logs_.requests[static_cast<size_t>(entries_[i].second)].request_id == request_id)
        visit(entries_[i].second);
    }
  }

 private:
  size_t lower_bound(uint64_t hash) const;
  const BucketLogs& logs_;
  std::vector<std::pair<uint64_t, int32_t>> entries_;
};

// An event of the search domain that names a request which is not its own user's: its request may stand in
// any bucket.
struct StrayEvent {
  std::string event_id;
  std::string request_id;
  std::string item_id;
  std::string user_id;
  int64_t ts_ms = 0;
  Action action = Action::Click;
  // The request it belongs to, once looked for.
  int bucket = -1;
  int64_t request_ts_ms = 0;
  std::string request_user_id;
};

// The events of this bucket that are no business of their own user's requests.
std::vector<StrayEvent> collect_strays(const BucketLogs& logs, const Options& options,
                                       const DayRanges& ranges);
// What one bucket offers to a stray: its best request with that id.
struct StrayMatch {
  size_t stray = 0;
  int bucket = 0;
  int64_t request_ts_ms = 0;
  std::string request_user_id;
};
std::vector<StrayMatch> match_strays(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                                     int bucket, const std::vector<StrayEvent>& strays);
// The better match stays; the order of the calls does not matter.
void accept_matches(const Options& options, const std::vector<StrayMatch>& matches,
                    std::vector<StrayEvent>& strays);

// A native event on a candidate of a request of the day.
struct Credit {
  int32_t request = 0;    // in BucketLogs::requests
  int32_t candidate = 0;  // within the request's list
  Action action = Action::Click;
  int64_t ts_ms = 0;
  std::string_view event_id;
};

struct NativeStage {
  std::vector<Credit> credits;  // by (request, candidate, ts_ms, event_id, action)
  EventCounts events;           // of the day; strays are counted where their request is
};

// `strays`: of all buckets, matched; those whose request stands in `bucket` are judged here.
NativeStage find_native(const BucketLogs& logs, const Options& options, const DayRanges& ranges, int bucket,
                        const std::vector<StrayEvent>& strays);
// The strays of the day whose request is nowhere.
EventCounts count_unknown(const std::vector<StrayEvent>& strays, const DayRanges& ranges);

}  // namespace uniscale::es3
