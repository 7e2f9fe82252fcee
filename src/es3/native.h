// Native labels of search requests (es3.md §1): which event belongs to which request, and why an event
// belongs to none. Pure functions over one bucket's logs; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "es3/bucket_logs.h"
#include "es3/options.h"

namespace uniscale::es3 {

// What became of an event. Each event of a day gets exactly one.
enum class Verdict : int8_t {
  Native = 0,  // §1; of a cross-domain event: located in its own request
  // Orphan causes of §1; of a cross-domain event: why it is not located.
  UnknownRequest,
  ItemNotInList,
  NotExposed,
  BeforeRequest,
  WindowPassed,
  NoRequestFound,
  CrossDomain,  // of another domain, and neither §3 nor §4 made use of it
  OtherAction,  // neither click, cart nor purchase: feeds histories only
  // §3: used up
  Attributed,
  DuplicateCredit,
  AlreadyLabelled,
  // §4: clicks
  CrossPositive,
  RequestOfOtherDay,  // located in a request of another day, which decides
  NoRequest,
  NoNegative,
  NoQuery,
  CrossLabel,  // §4: a cart or purchase that labels a located click
};
inline constexpr int kNumVerdicts = 18;
inline constexpr std::array<std::string_view, kNumVerdicts> kVerdictNames = {
    "native",           "unknown_request",  "item_not_in_list", "not_exposed",          "before_request",
    "window_passed",    "no_request_found", "cross_domain",     "other_action",         "attributed",
    "duplicate_credit", "already_labelled", "cross_positive",   "request_of_other_day", "no_request",
    "no_negative",      "no_query",         "cross_label"};
inline constexpr bool is_orphan(Verdict verdict) {
  return verdict >= Verdict::UnknownRequest && verdict <= Verdict::NoRequestFound;
}
inline constexpr int kNumActions = 4;
inline constexpr std::array<std::string_view, kNumActions> kActionNames = {"click", "cart", "purchase",
                                                                           "other"};

// Events of the day by verdict and action: every event is in exactly one cell.
struct EventCounts {
  using Cells = std::array<std::array<int64_t, kNumActions>, kNumVerdicts>;
  Cells cells{};
  Cells orphans{};         // events of the search domain by the cause of §1, whatever became of them later
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

// request_id → rows, over the requests of one bucket, of all domains.
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

// An event that names a request which is not its own user's: its request may stand in any bucket.
struct StrayEvent {
  std::string event_id;
  std::string domain;
  std::string request_id;
  std::string item_id;
  std::string user_id;
  int64_t ts_ms = 0;
  Action action = Action::Click;
  int event_bucket = -1;
  // The request it belongs to, once looked for; -1 if it is nowhere.
  int bucket = -1;
  int64_t request_ts_ms = 0;
  std::string request_user_id;
  // Once judged against that request's list.
  Verdict verdict = Verdict::UnknownRequest;
  int32_t candidate = -1;
};
bool stray_less(const StrayEvent& a, const StrayEvent& b);

// The events of this bucket that are no business of their own user's requests, by `stray_less`.
std::vector<StrayEvent> collect_strays(const BucketLogs& logs, const Options& options,
                                       const DayRanges& ranges, int bucket);
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
// Settles the strays whose request stands in this bucket; touches no others.
void judge_strays(const BucketLogs& logs, const Options& options, const DayRanges& ranges, int bucket,
                  std::vector<StrayEvent>& strays);

// A native event on a candidate of a search request of `DayRanges::labelled`.
struct Credit {
  int32_t request = 0;    // in BucketLogs::requests
  int32_t candidate = 0;  // within the request's list
  Action action = Action::Click;
  int64_t ts_ms = 0;
  std::string_view event_id;
  std::string_view user_id;  // of the event; empty = null
};

// Where an event of the bucket belongs by §1 inside its own domain.
struct Place {
  Verdict verdict = Verdict::OtherAction;
  int32_t request = -1;    // Native: in BucketLogs::requests, or −1 if the request stands in another bucket,
  int32_t candidate = -1;  // and the candidate in its list
  int32_t stray = -1;      // in the list of strays
};

struct NativeStage {
  std::vector<Credit> credits;  // by (request, candidate, ts_ms, event_id, action)
  std::vector<Place> places;    // by event; OtherAction outside `DayRanges::labels`
};

// `strays`: of all buckets, judged.
NativeStage find_native(const BucketLogs& logs, const Options& options, const DayRanges& ranges, int bucket,
                        const std::vector<StrayEvent>& strays);
// The credits of one request.
std::span<const Credit> credits_of(const NativeStage& stage, int32_t request);

// The request of a stray that was matched into this bucket.
int32_t request_of(const BucketLogs& logs, const RequestIds& ids, const StrayEvent& stray);

}  // namespace uniscale::es3
