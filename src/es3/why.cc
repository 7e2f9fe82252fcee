#include "es3/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "es3/reference.h"

namespace uniscale::es3 {
namespace {

struct Days {
  base::Day first;
  base::Day last;
};

// The days in which a request or event is looked for.
Days search_days(const Options& options, const logstore::LogStore& store) {
  if (!options.dt.empty()) {
    Options one_day = options;
    one_day.from.clear();
    one_day.to.clear();
    const base::Day day = days_asked(one_day).front();
    if (!store.has_day(day)) {
      throw base::NotReadyError(
          fmt::format("{}: not ingested yet: {}", options.store, base::format_day(day)));
    }
    return {day, day};
  }
  const std::vector<base::Day> days = store.days();
  US_REQUIRE(!days.empty(), fmt::format("{}: the log store holds no day", options.store));
  return {days.front(), days.back()};
}

Days around(const Options& options, int64_t ts_ms) {
  const int64_t reach = longest_window(options).ms + options.clock_skew.ms;
  return {base::day_of(ts_ms - reach), base::day_of(ts_ms + reach)};
}

std::string text_of(const std::optional<std::string>& text) { return text ? quote_bytes(*text) : "null"; }

std::string describe(const PlainRequest& request) {
  const int64_t num_exposed = std::count_if(request.candidates.begin(), request.candidates.end(),
                                            [](const PlainCandidate& c) { return c.position.has_value(); });
  return fmt::format("request {} at {}, user {}, query {}: {} exposed, {} unexposed",
                     quote_bytes(request.request_id), base::format_iso_time(request.ts_ms),
                     text_of(request.user_id), text_of(request.query), num_exposed,
                     static_cast<int64_t>(request.candidates.size()) - num_exposed);
}

std::string describe(const PlainEvent& event) {
  return fmt::format("event {} at {}: {} of {} in {}, user {}, request_id {}", quote_bytes(event.event_id),
                     base::format_iso_time(event.ts_ms), event.action, quote_bytes(event.item_id),
                     event.domain, text_of(event.user_id), text_of(event.request_id));
}

std::string window_text(const Options& options, const std::string& action) {
  const base::Duration window = window_of(options, static_cast<schema::Task>(action_of(action)));
  return fmt::format("es3.{}_window {}", action, base::format_duration(window));
}

// The rule behind a verdict, with its numbers.
std::string rule_text(const Options& options, const PlainEvent& event, const EventPath& path) {
  const int64_t delay_ms = path.request ? event.ts_ms - path.request->ts_ms : 0;
  switch (path.verdict) {
    case Verdict::Native:
      return fmt::format("native: request {} exposed the item {} ms before; {}",
                         quote_bytes(path.request->request_id), delay_ms, window_text(options, event.action));
    case Verdict::UnknownRequest:
      return fmt::format(
          "unknown_request: no search request within {} has this id; an id is not repaired by guessing",
          base::format_duration(longest_window(options)));
    case Verdict::ItemNotInList:
      return fmt::format("item_not_in_list: request {} has no such candidate",
                         quote_bytes(path.request->request_id));
    case Verdict::NotExposed:
      return fmt::format("not_exposed: request {} has the candidate, but did not show it",
                         quote_bytes(path.request->request_id));
    case Verdict::BeforeRequest:
      return fmt::format("before_request: {} ms before request {}; es3.clock_skew {}", -delay_ms,
                         quote_bytes(path.request->request_id), base::format_duration(options.clock_skew));
    case Verdict::WindowPassed:
      return fmt::format("window_passed: {} ms after request {}; {}", delay_ms,
                         quote_bytes(path.request->request_id), window_text(options, event.action));
    case Verdict::NoRequestFound:
      return event.user_id ? fmt::format(
                                 "no_request_found: no search request of this user exposed the item before; "
                                 "es3.native_window {}",
                                 base::format_duration(options.native_window))
                           : "no_request_found: neither request_id nor user";
    case Verdict::CrossDomain:
      return "cross_domain: not native, since it is not of the search domain";
    case Verdict::OtherAction:
      return "other_action: carries no label; it feeds the histories that name it";
    default:
      return std::string(kVerdictNames[static_cast<size_t>(path.verdict)]);
  }
  US_UNREACHABLE();
}

// Everything that decides about these events: the requests they name, and those of the users concerned.
void read_deciding_requests(const logstore::LogStore& store, const Days& days,
                            const std::set<std::string>& users, PlainLogs& logs) {
  std::set<std::string> named;
  for (const PlainEvent& event : logs.events) {
    if (event.request_id) named.insert(*event.request_id);
  }
  PlainFilter filter;
  filter.first_day = days.first;
  filter.last_day = days.last;
  filter.requests = [&](const PlainRequest& request) {
    return request.domain == store.schema().search_domain &&
           (named.contains(request.request_id) || (request.user_id && users.contains(*request.user_id)));
  };
  logs.requests = read_logs(store, filter).requests;
}

std::vector<PlainRequest> find_requests(const logstore::LogStore& store, const Days& days,
                                        const std::string& request_id) {
  PlainFilter filter;
  filter.first_day = days.first;
  filter.last_day = days.last;
  filter.requests = [&](const PlainRequest& request) {
    return request.domain == store.schema().search_domain && request.request_id == request_id;
  };
  return read_logs(store, filter).requests;
}

std::string describe_labels(const PlainSampleItem& item) {
  std::string out;
  for (size_t task = 0; task < item.labels.size(); ++task) {
    const PlainLabel& label = item.labels[task];
    out += fmt::format("  {} = {}", schema::kTaskNames[task], label.value ? 1 : 0);
    if (label.value) {
      out += fmt::format(": {} from {}, {} ms after the request, weight {}",
                         schema::kLabelSourceNames[static_cast<size_t>(label.source)], text_of(label.domain),
                         label.delay_ms.value_or(0), label.weight);
    }
    out += "\n";
  }
  return out;
}

std::string why_candidate(const Options& options, const logstore::LogStore& store,
                          const PlainRequest& request, const PlainCandidate& candidate) {
  const Days days = around(options, request.ts_ms);
  PlainFilter filter;
  filter.first_day = days.first;
  filter.last_day = days.last;
  filter.events = [&](const PlainEvent& event) {
    return event.item_id == candidate.item_id &&
           ((request.user_id && event.user_id == request.user_id) || event.request_id == request.request_id);
  };
  PlainLogs logs = read_logs(store, filter);
  std::set<std::string> users;
  for (const PlainEvent& event : logs.events) {
    if (event.user_id) users.insert(*event.user_id);
  }
  if (request.user_id) users.insert(*request.user_id);
  // Requests that the events name may lie as far off again.
  const Days wider{base::day_of(days.first.begin_ms() - longest_window(options).ms),
                   base::day_of(days.last.end_ms() + longest_window(options).ms)};
  read_deciding_requests(store, wider, users, logs);
  const auto same = [&](const PlainRequest& other) {
    return other.request_id == request.request_id && other.ts_ms == request.ts_ms &&
           other.user_id == request.user_id;
  };
  if (std::none_of(logs.requests.begin(), logs.requests.end(), same)) logs.requests.push_back(request);

  std::string out = describe(request) + "\n";
  const std::vector<PlainSample> samples =
      reference_samples(logs, store.schema(), options, {}, base::day_of(request.ts_ms));
  const auto sample = std::find_if(samples.begin(), samples.end(), [&](const PlainSample& row) {
    return row.request_id == request.request_id && row.ts_ms == request.ts_ms &&
           row.user_id == request.user_id;
  });
  US_CHECK(sample != samples.end(), "a search request without a row");
  const auto item = std::find_if(sample->items.begin(), sample->items.end(), [&](const PlainSampleItem& one) {
    return one.item_id == candidate.item_id;
  });
  const std::string position =
      candidate.position ? fmt::format("exposed at position {}", *candidate.position) : "unexposed";
  if (item == sample->items.end()) {
    out += fmt::format("candidate {}: {}, not drawn (es3.md §2): it is in no sample\n",
                       quote_bytes(candidate.item_id), position);
  } else {
    out += fmt::format("candidate {}: {}{}\n{}", quote_bytes(candidate.item_id), position,
                       candidate.position ? "" : ", drawn (es3.md §2)", describe_labels(*item));
  }
  std::sort(logs.events.begin(), logs.events.end(), [](const PlainEvent& a, const PlainEvent& b) {
    return std::tie(a.ts_ms, a.event_id) < std::tie(b.ts_ms, b.event_id);
  });
  out += fmt::format("events on this item by this user or naming this request: {}\n", logs.events.size());
  for (const PlainEvent& event : logs.events) {
    const EventPath path = follow_event(logs, store.schema(), options, event);
    out += fmt::format("  {}\n    {}{}\n", describe(event), rule_text(options, event, path),
                       path.verdict == Verdict::Native && !same(*path.request) ? " (another request)" : "");
  }
  return out;
}

}  // namespace

std::string why_label(const Options& options, const std::string& request_id, const std::string& item_id) {
  check(options);
  const logstore::LogStore store(options.store);
  const Days days = search_days(options, store);
  const std::vector<PlainRequest> requests = find_requests(store, days, request_id);
  US_REQUIRE(!requests.empty(),
             fmt::format("{}: no search request {} from {} to {}", options.store, quote_bytes(request_id),
                         base::format_day(days.first), base::format_day(days.last)));
  std::string out;
  for (const PlainRequest& request : requests) {
    const auto candidate = std::find_if(request.candidates.begin(), request.candidates.end(),
                                        [&](const PlainCandidate& c) { return c.item_id == item_id; });
    if (candidate == request.candidates.end()) continue;
    if (!out.empty()) out += "\n";
    out += why_candidate(options, store, request, *candidate);
  }
  US_REQUIRE(!out.empty(),
             fmt::format("{}: request {} has no candidate {} ({} in its list)", options.store,
                         quote_bytes(request_id), quote_bytes(item_id), requests.front().candidates.size()));
  return out;
}

std::string why_event(const Options& options, const std::string& event_id) {
  check(options);
  const logstore::LogStore store(options.store);
  const Days days = search_days(options, store);
  PlainFilter filter;
  filter.first_day = days.first;
  filter.last_day = days.last;
  filter.events = [&](const PlainEvent& event) { return event.event_id == event_id; };
  const PlainLogs found = read_logs(store, filter);
  US_REQUIRE(!found.events.empty(),
             fmt::format("{}: no event {} from {} to {}", options.store, quote_bytes(event_id),
                         base::format_day(days.first), base::format_day(days.last)));
  std::string out;
  for (const PlainEvent& event : found.events) {
    PlainLogs logs;
    logs.events = {event};
    std::set<std::string> users;
    if (event.user_id) users.insert(*event.user_id);
    read_deciding_requests(store, around(options, event.ts_ms), users, logs);
    const EventPath path = follow_event(logs, store.schema(), options, event);
    if (!out.empty()) out += "\n";
    out += fmt::format("{}\n  {}\n", describe(event), rule_text(options, event, path));
    if (path.request) out += fmt::format("  held against {}\n", describe(*path.request));
    if (path.verdict == Verdict::Native && event.action != schema::kClick) {
      out += fmt::format("  sets {} and, by closure, click\n", event.action);
    } else if (path.verdict == Verdict::Native) {
      out += "  sets click\n";
    } else if (path.verdict != Verdict::OtherAction) {
      out += "  sets no label in this build: only native events do\n";
    }
  }
  return out;
}

}  // namespace uniscale::es3
