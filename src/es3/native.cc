#include "es3/native.h"

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "es3/item_places.h"

namespace uniscale::es3 {
namespace {

schema::Task task_of(Action action) { return static_cast<schema::Task>(action); }

// Which requests an event may name: those stamped within W of it (es3.md §8 reads no further).
Span nameable(const Options& options, int64_t ts_ms) {
  const int64_t window = longest_window(options).ms;
  return {ts_ms - window, ts_ms + window + options.clock_skew.ms + 1};
}

bool names_request(const EventRow& event) {
  return event.action != Action::Other && !event.request_id.empty();
}

// Whether §1 is asked about the event at all.
bool is_judged(const EventRow& event, const DayRanges& ranges) {
  return event.action != Action::Other && (event.in_search || ranges.has_stages) &&
         ranges.labels.contains(event.ts_ms);
}

// The request of the event's own user that it names; -1 if there is none.
int32_t own_request(const BucketLogs& logs, const RequestIds& ids, const Options& options,
                    const EventRow& event) {
  if (event.user == kNullUser) return -1;
  const Span span = nameable(options, event.ts_ms);
  const int64_t limit_ms = event.ts_ms + options.clock_skew.ms;
  int32_t best = -1;
  ids.for_each(event.request_id, [&](int32_t index) {
    const RequestRow& request = logs.requests[static_cast<size_t>(index)];
    if (request.user != event.user || request.domain != event.domain || !span.contains(request.ts_ms)) return;
    if (best < 0 ||
        is_better_match(limit_ms, request.ts_ms, {}, logs.requests[static_cast<size_t>(best)].ts_ms, {}))
      best = index;
  });
  return best;
}

StrayEvent make_stray(const BucketLogs& logs, const EventRow& event, int bucket) {
  StrayEvent stray;
  stray.event_id = event.event_id;
  stray.domain = logs.domains.id(event.domain);
  stray.request_id = event.request_id;
  stray.item_id = event.item_id;
  stray.user_id = logs.user_id(event.user);
  stray.ts_ms = event.ts_ms;
  stray.action = event.action;
  stray.event_bucket = bucket;
  return stray;
}

struct Judged {
  Verdict verdict;
  int32_t candidate;
};

// The conditions of §1 in the order of the causes.
Judged judge(const BucketLogs& logs, const Options& options, const RequestRow& request,
             std::string_view item_id, Action action, int64_t ts_ms) {
  if (!request.has_list) {
    // Outside the days whose lists are read: no candidate of the day is concerned, only the cause is lost.
    return {ts_ms < request.ts_ms - options.clock_skew.ms ? Verdict::BeforeRequest : Verdict::WindowPassed,
            -1};
  }
  const int32_t candidate = logs.find_candidate(request, item_id);
  if (candidate < 0) return {Verdict::ItemNotInList, -1};
  if (!logs.is_exposed(request, candidate)) return {Verdict::NotExposed, candidate};
  if (ts_ms < request.ts_ms - options.clock_skew.ms) return {Verdict::BeforeRequest, candidate};
  if (ts_ms > request.ts_ms + window_of(options, task_of(action)).ms)
    return {Verdict::WindowPassed, candidate};
  return {Verdict::Native, candidate};
}

// The requests of one user that exposed an item; places are looked up when a first event without request_id
// asks.
class Exposures {
 public:
  Exposures(const BucketLogs& logs, const DayRanges& ranges, const Options& options)
      : logs_(logs),
        span_{ranges.labelled.begin_ms - options.native_window.ms,
              ranges.labelled.end_ms + options.native_window.ms},
        places_(logs) {}

  // The latest request of `user` in `domain` and [ts - native_window, ts] that exposed the item, ties by
  // smaller request_id; -1 if none.
  int32_t latest(int32_t user, int32_t domain, std::string_view item_id, int64_t ts_ms,
                 int64_t native_window_ms) {
    if (user != user_) {
      user_ = user;
      places_.build(
          user, span_, [](const RequestRow&) { return true; },
          [&](const RequestRow& request, int32_t candidate) { return logs_.is_exposed(request, candidate); },
          [](uint64_t) { return true; });
    }
    int32_t best = -1;
    for (const ItemPlaces::Place& place : places_.find(item_id)) {
      const RequestRow& request = logs_.requests[static_cast<size_t>(place.request)];
      if (request.ts_ms > ts_ms) break;
      if (request.ts_ms < ts_ms - native_window_ms || request.domain != domain) continue;
      if (best < 0 || request.ts_ms != logs_.requests[static_cast<size_t>(best)].ts_ms) best = place.request;
    }
    return best;
  }

 private:
  const BucketLogs& logs_;
  Span span_;
  int32_t user_ = kNullUser;
  ItemPlaces places_;
};

}  // namespace

void EventCounts::merge(const EventCounts& other) {
  for (size_t v = 0; v < cells.size(); ++v) {
    for (size_t a = 0; a < cells[v].size(); ++a) {
      cells[v][a] += other.cells[v][a];
      orphans[v][a] += other.orphans[v][a];
    }
  }
  num_events += other.num_events;
}

int64_t EventCounts::of(Verdict verdict) const {
  int64_t sum = 0;
  for (const int64_t count : cells[static_cast<size_t>(verdict)]) sum += count;
  return sum;
}

int64_t EventCounts::total() const {
  int64_t sum = 0;
  for (int v = 0; v < kNumVerdicts; ++v) sum += of(static_cast<Verdict>(v));
  return sum;
}

bool is_better_match(int64_t limit_ms, int64_t a_ts, std::string_view a_user, int64_t b_ts,
                     std::string_view b_user) {
  const bool a_before = a_ts <= limit_ms;
  const bool b_before = b_ts <= limit_ms;
  if (a_before != b_before) return a_before;
  if (a_ts != b_ts) return a_before ? a_ts > b_ts : a_ts < b_ts;
  return a_user < b_user;
}

RequestIds::RequestIds(const BucketLogs& logs, const Span& span) : logs_(logs) {
  for (size_t i = 0; i < logs.requests.size(); ++i) {
    if (span.contains(logs.requests[i].ts_ms)) {
      entries_.emplace_back(base::hash_bytes(logs.requests[i].request_id, 0), static_cast<int32_t>(i));
    }
  }
  std::sort(entries_.begin(), entries_.end());
}

size_t RequestIds::lower_bound(uint64_t hash) const {
  const auto it = std::lower_bound(
      entries_.begin(), entries_.end(), hash,
      [](const std::pair<uint64_t, int32_t>& entry, uint64_t value) { return entry.first < value; });
  return static_cast<size_t>(it - entries_.begin());
}

bool stray_less(const StrayEvent& a, const StrayEvent& b) {
  return std::tie(a.user_id, a.ts_ms, a.event_id, a.item_id, a.action, a.domain, a.request_id) <
         std::tie(b.user_id, b.ts_ms, b.event_id, b.item_id, b.action, b.domain, b.request_id);
}

std::vector<StrayEvent> collect_strays(const BucketLogs& logs, const Options& options,
                                       const DayRanges& ranges, int bucket) {
  const RequestIds ids(logs, ranges.ids);
  std::vector<StrayEvent> strays;
  for (const EventRow& event : logs.events) {
    if (!is_judged(event, ranges) || !names_request(event)) continue;
    if (own_request(logs, ids, options, event) < 0) strays.push_back(make_stray(logs, event, bucket));
  }
  std::sort(strays.begin(), strays.end(), stray_less);
  return strays;
}

std::vector<StrayMatch> match_strays(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                                     int bucket, const std::vector<StrayEvent>& strays) {
  const RequestIds ids(logs, ranges.ids);
  std::vector<StrayMatch> matches;
  for (size_t i = 0; i < strays.size(); ++i) {
    const Span span = nameable(options, strays[i].ts_ms);
    const int64_t limit_ms = strays[i].ts_ms + options.clock_skew.ms;
    const RequestRow* best = nullptr;
    ids.for_each(strays[i].request_id, [&](int32_t index) {
      const RequestRow& request = logs.requests[static_cast<size_t>(index)];
      if (!span.contains(request.ts_ms) || logs.domain_of(request) != strays[i].domain) return;
      if (best == nullptr || is_better_match(limit_ms, request.ts_ms, logs.user_id(request.user), best->ts_ms,
                                             logs.user_id(best->user))) {
        best = &request;
      }
    });
    if (best != nullptr) matches.push_back({i, bucket, best->ts_ms, std::string(logs.user_id(best->user))});
  }
  return matches;
}

void accept_matches(const Options& options, const std::vector<StrayMatch>& matches,
                    std::vector<StrayEvent>& strays) {
  for (const StrayMatch& match : matches) {
    StrayEvent& stray = strays[match.stray];
    if (stray.bucket >= 0 &&
        !is_better_match(stray.ts_ms + options.clock_skew.ms, match.request_ts_ms, match.request_user_id,
                         stray.request_ts_ms, stray.request_user_id)) {
      continue;
    }
    stray.bucket = match.bucket;
    stray.request_ts_ms = match.request_ts_ms;
    stray.request_user_id = match.request_user_id;
  }
}

int32_t request_of(const BucketLogs& logs, const RequestIds& ids, const StrayEvent& stray) {
  int32_t found = -1;
  ids.for_each(stray.request_id, [&](int32_t index) {
    const RequestRow& row = logs.requests[static_cast<size_t>(index)];
    if (row.ts_ms == stray.request_ts_ms && logs.user_id(row.user) == stray.request_user_id &&
        logs.domain_of(row) == stray.domain)
      found = index;
  });
  US_CHECK(found >= 0, "the request of a stray event is gone");
  return found;
}

void judge_strays(const BucketLogs& logs, const Options& options, const DayRanges& ranges, int bucket,
                  std::vector<StrayEvent>& strays) {
  const RequestIds ids(logs, ranges.ids);
  for (StrayEvent& stray : strays) {
    if (stray.bucket != bucket) continue;
    const RequestRow& request = logs.requests[static_cast<size_t>(request_of(logs, ids, stray))];
    const Judged judged = judge(logs, options, request, stray.item_id, stray.action, stray.ts_ms);
    stray.verdict = judged.verdict;
    stray.candidate = judged.candidate;
  }
}

NativeStage find_native(const BucketLogs& logs, const Options& options, const DayRanges& ranges, int bucket,
                        const std::vector<StrayEvent>& strays) {
  NativeStage stage;
  stage.places.resize(logs.events.size());
  const RequestIds ids(logs, ranges.ids);
  Exposures exposures(logs, ranges, options);
  const auto credit = [&](int32_t index, int32_t candidate, Action action, int64_t ts_ms,
                          std::string_view event_id, std::string_view user_id) {
    const RequestRow& request = logs.requests[static_cast<size_t>(index)];
    if (request.in_search && ranges.labelled.contains(request.ts_ms))
      stage.credits.push_back({index, candidate, action, ts_ms, event_id, user_id});
  };

  std::vector<std::pair<StrayEvent, size_t>> own_strays;
  for (size_t i = 0; i < logs.events.size(); ++i) {
    const EventRow& event = logs.events[i];
    if (!is_judged(event, ranges)) continue;
    Place& place = stage.places[i];
    int32_t request = -1;
    if (names_request(event)) {
      request = own_request(logs, ids, options, event);
      if (request < 0) {
        own_strays.emplace_back(make_stray(logs, event, bucket), i);
        continue;
      }
    } else if (event.user != kNullUser) {
      request =
          exposures.latest(event.user, event.domain, event.item_id, event.ts_ms, options.native_window.ms);
    }
    if (request < 0) {
      place.verdict = Verdict::NoRequestFound;
      continue;
    }
    const Judged judged = judge(logs, options, logs.requests[static_cast<size_t>(request)], event.item_id,
                                event.action, event.ts_ms);
    place.verdict = judged.verdict;
    if (judged.verdict != Verdict::Native) continue;
    place.request = request;
    place.candidate = judged.candidate;
    credit(request, judged.candidate, event.action, event.ts_ms, event.event_id, logs.user_id(event.user));
  }

  // Strays of this bucket's events were collected before, in the same order.
  std::sort(own_strays.begin(), own_strays.end(),
            [](const auto& a, const auto& b) { return stray_less(a.first, b.first); });
  size_t next = 0;
  for (size_t s = 0; s < strays.size(); ++s) {
    const StrayEvent& stray = strays[s];
    if (stray.event_bucket == bucket) {
      US_CHECK(next < own_strays.size(), "a stray event is gone");
      Place& place = stage.places[own_strays[next++].second];
      place.verdict = stray.verdict;
      place.candidate = stray.candidate;
      place.stray = static_cast<int32_t>(s);
    }
    if (stray.bucket == bucket && stray.verdict == Verdict::Native)
      credit(request_of(logs, ids, stray), stray.candidate, stray.action, stray.ts_ms, stray.event_id,
             stray.user_id);
  }
  US_CHECK(next == own_strays.size(), "a stray event appeared");

  std::sort(stage.credits.begin(), stage.credits.end(), [](const Credit& a, const Credit& b) {
    return std::tie(a.request, a.candidate, a.ts_ms, a.event_id, a.action) <
           std::tie(b.request, b.candidate, b.ts_ms, b.event_id, b.action);
  });
  return stage;
}

std::span<const Credit> credits_of(const NativeStage& stage, int32_t request) {
  const auto first =
      std::lower_bound(stage.credits.begin(), stage.credits.end(), request,
                       [](const Credit& credit, int32_t value) { return credit.request < value; });
  auto last = first;
  while (last != stage.credits.end() && last->request == request) ++last;
  return {first, last};
}

}  // namespace uniscale::es3
