#include "es3/cross_clicks.h"

#include <algorithm>

#include "base/error.h"

namespace uniscale::es3 {
namespace {

// A located click of the user in hand, wherever and whenever its request is.
struct Located {
  size_t event;
  int64_t request_ts_ms;
  std::array<int64_t, 2> label_event{-1, -1};  // cart, purchase
};

class ClickCollector {
 public:
  ClickCollector(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                 const NativeStage& native, const AttributionStage& attribution,
                 const OwnQueries& own_queries, const std::vector<StrayEvent>& strays)
      : logs_(logs),
        options_(options),
        ranges_(ranges),
        native_(native),
        attribution_(attribution),
        own_queries_(own_queries),
        strays_(strays) {
    stage_.fates.assign(logs.events.size(), Verdict::Native);
  }

  CrossClickStage run() {
    for (int32_t user = kNullUser; user < logs_.users.size(); ++user) collect_user(user);
    return std::move(stage_);
  }

 private:
  void collect_user(int32_t user) {
    located_.clear();
    const auto [first, last] = logs_.events_of(user);
    for (size_t i = first; i < last; ++i) {
      const EventRow& event = logs_.events[i];
      if (event.in_search || event.action != Action::Click || !ranges_.attributed.contains(event.ts_ms))
        continue;
      if (attribution_.is_used(i) && !options_.reuse_attributed) continue;
      const Place& place = native_.places[i];
      if (place.verdict != Verdict::Native) {
        stage_.fates[i] = Verdict::NoRequest;
        continue;
      }
      located_.push_back({i, place.request >= 0 ? logs_.requests[static_cast<size_t>(place.request)].ts_ms
                                                : strays_[static_cast<size_t>(place.stray)].request_ts_ms});
    }
    if (located_.empty()) return;
    if (user != kNullUser) {
      // By item, the latest first, ties by smaller event_id.
      std::sort(located_.begin(), located_.end(), [&](const Located& a, const Located& b) {
        const EventRow& left = logs_.events[a.event];
        const EventRow& right = logs_.events[b.event];
        if (left.item_id != right.item_id) return left.item_id < right.item_id;
        if (left.ts_ms != right.ts_ms) return left.ts_ms > right.ts_ms;
        return std::tie(left.event_id, a.event) < std::tie(right.event_id, b.event);
      });
      for (size_t i = first; i < last; ++i) label_click(i);
    }
    bool knows_own = false;
    for (const Located& click : located_) {
      if (!ranges_.samples.contains(click.request_ts_ms)) {
        stage_.fates[click.event] = Verdict::RequestOfOtherDay;
        continue;
      }
      if (user != kNullUser && !knows_own) {
        list_own_queries(user);
        knows_own = true;
      }
      stage_.fates[click.event] = Verdict::CrossPositive;
      stage_.clicks.push_back(make_click(click, user));
    }
  }

  // An unused cart or purchase labels the latest located click before it whose request is not too old.
  void label_click(size_t index) {
    const EventRow& event = logs_.events[index];
    if (event.action != Action::Cart && event.action != Action::Purchase) return;
    if (!ranges_.attributed.contains(event.ts_ms) || attribution_.is_used(index)) return;
    if (event.in_search && !is_orphan(native_.places[index].verdict)) return;
    const int64_t window = window_of(options_, static_cast<schema::Task>(event.action)).ms;
    auto it = std::lower_bound(located_.begin(), located_.end(), event.item_id,
                               [&](const Located& click, std::string_view item) {
                                 return logs_.events[click.event].item_id < item;
                               });
    for (; it != located_.end() && logs_.events[it->event].item_id == event.item_id; ++it) {
      if (logs_.events[it->event].ts_ms > event.ts_ms || event.ts_ms > it->request_ts_ms + window) continue;
      int64_t& label = it->label_event[event.action == Action::Cart ? 0 : 1];
      // Events come by (ts_ms, event_id): the first gives the provenance. What becomes of a label of another
      // day is that day's to say.
      stage_.fates[index] = !ranges_.samples.contains(it->request_ts_ms) ? Verdict::RequestOfOtherDay
                            : label < 0                                  ? Verdict::CrossLabel
                                                                         : Verdict::DuplicateCredit;
      if (label < 0) label = static_cast<int64_t>(index);
      return;
    }
  }

  void list_own_queries(int32_t user) {
    own_.clear();
    const auto of_user = own_queries_.of(logs_.user_id(user));
    own_.assign(of_user.begin(), of_user.end());
    const auto [first, last] = logs_.requests_of(user);
    for (size_t i = first; i < last; ++i) {
      const RequestRow& request = logs_.requests[i];
      if (!request.in_search || request.query.empty()) continue;
      for (const Credit& credit : credits_of(native_, static_cast<int32_t>(i))) {
        own_.push_back(
            {logs_.item_id(request, credit.candidate), request.query, request.ts_ms, credit.ts_ms});
      }
    }
  }

  // Tier 1: the latest query of the user whose request had a native event on the item before g.
  std::optional<std::string> own_query(std::string_view item_id, int64_t now_ms) const {
    const OwnQueries::Entry* best = nullptr;
    for (const OwnQueries::Entry& entry : own_) {
      if (entry.item_id != item_id || entry.event_ts_ms >= now_ms || entry.request_ts_ms >= now_ms ||
          entry.request_ts_ms < now_ms - options_.own_lookback.ms)
        continue;
      if (best == nullptr || entry.request_ts_ms > best->request_ts_ms ||
          (entry.request_ts_ms == best->request_ts_ms && entry.query < best->query))
        best = &entry;
    }
    return best == nullptr ? std::nullopt : std::optional<std::string>(best->query);
  }

  CrossClick make_click(const Located& located, int32_t user) const {
    const EventRow& event = logs_.events[located.event];
    const Place& place = native_.places[located.event];
    CrossClick click;
    click.request = place.request;
    click.stray = place.stray;
    click.candidate = place.candidate;
    click.was_used = attribution_.is_used(located.event);
    click.ts_ms = event.ts_ms;
    click.event_id = event.event_id;
    click.domain = logs_.domains.id(event.domain);
    if (user != kNullUser) click.own_query = own_query(event.item_id, located.request_ts_ms);
    for (size_t i = 0; i < click.labels.size(); ++i) {
      if (located.label_event[i] < 0) continue;
      const EventRow& label = logs_.events[static_cast<size_t>(located.label_event[i])];
      click.labels[i] =
          CrossLabel{label.ts_ms, std::string(label.event_id), std::string(logs_.domains.id(label.domain))};
    }
    return click;
  }

  const BucketLogs& logs_;
  const Options& options_;
  const DayRanges& ranges_;
  const NativeStage& native_;
  const AttributionStage& attribution_;
  const OwnQueries& own_queries_;
  const std::vector<StrayEvent>& strays_;
  CrossClickStage stage_;
  std::vector<Located> located_;
  std::vector<OwnQueries::Entry> own_;
};

}  // namespace

CrossClickStage collect_cross_clicks(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                                     const NativeStage& native, const AttributionStage& attribution,
                                     const OwnQueries& own_queries, const std::vector<StrayEvent>& strays) {
  if (!options.searchify) return {{}, std::vector<Verdict>(logs.events.size(), Verdict::Native)};
  return ClickCollector(logs, options, ranges, native, attribution, own_queries, strays).run();
}

}  // namespace uniscale::es3
