#include "es3/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "es3/detail/reference_steps.h"
#include "es3/detail/why_logs.h"
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
    case Verdict::OtherAction:
      return "other_action: carries no label; it feeds the histories that name it";
    default:
      return std::string(kVerdictNames[static_cast<size_t>(path.verdict)]);
  }
  US_UNREACHABLE();
}

// The logs concerned and everything that follows from them.
class Case {
 public:
  Case(const logstore::LogStore& store, const Options& options, PlainLogs concerned)
      : options_(options),
        logs_(std::move(concerned)),
        past_(store, options),
        twin_(logs_, store.schema(), options, past_),
        vectors_(store.schema().hash_seed),
        inputs_{logs_, store.schema(), options, twin_.natives(), vectors_, past_} {}

  const PlainLogs& logs() const { return logs_; }
  const Twin& twin() const { return twin_; }

  // The rules that decided about an event, a line each.
  std::string fate_text(const EventFate& fate, const std::string& indent) const;

 private:
  std::string samples_text(const PlainEvent& event, const std::string& indent) const;
  std::string click_text(const PlainEvent& event, Verdict fate) const;

  const Options& options_;
  const PlainLogs logs_;
  mutable TablePastDays past_;
  const Twin twin_;
  mutable TextVectors vectors_;
  const TwinInputs inputs_;
};

constexpr std::string_view kTierNames[] = {"none", "own", "co", "ann"};

// What §4 made of a click.
std::string Case::click_text(const PlainEvent& event, Verdict fate) const {
  const std::string name(kVerdictNames[static_cast<size_t>(fate)]);
  const EventPath own = follow_in_domain(logs_, event.domain, options_, event);
  switch (fate) {
    case Verdict::CrossPositive:
      for (const PlainCross& click : twin_.cross_clicks()) {
        if (click.event != &event) continue;
        const std::string id = cross_request_id(*click.request, click.query, inputs_.schema.hash_seed);
        return fmt::format(
            "{}: located in request {} of {}; positive of {} with query {} by tier {}, score {}, beside {} "
            "negatives",
            name, quote_bytes(click.request->request_id), event.domain, quote_bytes(id),
            quote_bytes(click.query), kTierNames[static_cast<size_t>(click.tier)], click.score,
            click.negatives.size());
      }
      break;
    case Verdict::NoRequest:
      return fmt::format("{}: no request of {} holds it: {}", name, event.domain,
                         kVerdictNames[static_cast<size_t>(own.verdict)]);
    case Verdict::NoNegative:
      return fmt::format(
          "{}: nothing shown in request {} without an event is similar to the item; "
          "es3.negative_similarity {}",
          name, quote_bytes(own.request->request_id), options_.negative_similarity);
    case Verdict::NoQuery:
      return fmt::format(
          "{}: located in request {}, but none of the tiers own, co and ann has a query for it", name,
          quote_bytes(own.request->request_id));
    default:
      break;
  }
  return name;
}

// The samples among which §3 chose.
std::string Case::samples_text(const PlainEvent& event, const std::string& indent) const {
  std::string out;
  if (!options_.attribution) return indent + "es3.attribution is off\n";
  for (const SampleView& sample : samples_of_event(inputs_, event)) {
    std::string_view state = "unexposed";
    if (sample.level == schema::LabelSource::HlaExposed) state = "exposed, no native click by then";
    if (sample.level == schema::LabelSource::HlaClicked) state = "exposed, natively clicked by then";
    out += fmt::format("{}sample in request {} at {}: {}; query {} is {}relevant (es3.relevance_gate {}){}\n",
                       indent, quote_bytes(sample.request->request_id),
                       base::format_iso_time(sample.request->ts_ms), state, text_of(sample.request->query),
                       sample.is_relevant ? "" : "not ", options_.relevance_gate,
                       sample.is_labelled ? fmt::format("; {} is native already", event.action) : "");
  }
  if (out.empty())
    out = fmt::format("{}no search sample of this user and item; {}\n", indent,
                      window_text(options_, event.action));
  return out;
}

std::string Case::fate_text(const EventFate& fate, const std::string& indent) const {
  const PlainEvent& event = *fate.event;
  std::string out;
  if (fate.path.verdict != Verdict::CrossDomain) out += indent + rule_text(options_, event, fate.path) + "\n";
  if (fate.fate == Verdict::Native || fate.fate == Verdict::OtherAction) return out;
  const std::string name(kVerdictNames[static_cast<size_t>(fate.fate)]);
  const std::string request = fate.request ? quote_bytes(fate.request->request_id) : "";
  const int64_t delay_ms = fate.request ? event.ts_ms - fate.request->ts_ms : 0;
  switch (fate.fate) {
    case Verdict::Attributed:
      out += fmt::format("{}{}: labels the item in request {} as {}, {} ms after it, weight {}\n", indent,
                         name, request, schema::kLabelSourceNames[static_cast<size_t>(fate.source)], delay_ms,
                         static_cast<float>(credit_weight(options_, event, delay_ms)));
      break;
    case Verdict::DuplicateCredit:
      out += fmt::format("{}{}: an earlier {} already labels the item in request {}\n", indent, name,
                         event.action, request);
      break;
    case Verdict::AlreadyLabelled:
      out += fmt::format("{}{}: request {} has this label by native events\n", indent, name, request);
      break;
    case Verdict::CrossLabel:
      out += fmt::format("{}{}: labels the latest click on the item, located in request {}, {} ms after it\n",
                         indent, name, request, delay_ms);
      break;
    case Verdict::CrossPositive:
    case Verdict::NoRequest:
    case Verdict::NoNegative:
    case Verdict::NoQuery:
      out += indent + click_text(event, fate.fate) + "\n";
      break;
    default:
      out += fmt::format("{}labels nothing\n", indent);
      break;
  }
  if (fate.reused) out += fmt::format("{}used again, {}\n", indent, click_text(event, *fate.reused));
  return out + samples_text(event, indent + "  ");
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

std::string events_text(const Case& facts, const PlainRequest& request, const std::string& item_id) {
  std::vector<const EventFate*> events;
  for (const EventFate& fate : facts.twin().fates()) {
    if (fate.event->item_id == item_id && ((request.user_id && fate.event->user_id == request.user_id) ||
                                           fate.event->request_id == request.request_id))
      events.push_back(&fate);
  }
  std::sort(events.begin(), events.end(),
            [](const EventFate* a, const EventFate* b) { return is_earlier(*a->event, *b->event); });
  std::string out =
      fmt::format("events on this item by this user or naming this request: {}\n", events.size());
  for (const EventFate* fate : events) {
    const bool is_of_another =
        fate->request && (fate->request->request_id != request.request_id ||
                          fate->request->domain != request.domain || fate->request->ts_ms != request.ts_ms);
    out += fmt::format("  {}{}\n{}", describe(*fate->event), is_of_another ? " (another request)" : "",
                       facts.fate_text(*fate, "    "));
  }
  return out;
}

Case case_of(const Options& options, const logstore::LogStore& store, const PlainRequest& request) {
  std::set<std::string> users;
  if (request.user_id) users.insert(*request.user_id);
  return Case(store, options,
              read_concerned(store, options, request.ts_ms, request.ts_ms, users, {request.request_id}));
}

std::string why_candidate(const Options& options, const logstore::LogStore& store,
                          const PlainRequest& request, const PlainCandidate& candidate) {
  const Case facts = case_of(options, store, request);
  std::string out = describe(request) + "\n";
  const std::vector<PlainSample> samples = facts.twin().samples({}, base::day_of(request.ts_ms));
  const auto sample = std::find_if(samples.begin(), samples.end(), [&](const PlainSample& row) {
    return row.request_id == request.request_id && row.ts_ms == request.ts_ms &&
           row.user_id == request.user_id && row.domain == request.domain;
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
    const std::vector<const PlainCandidate*> taken = drawn(request, options, store.schema().hash_seed);
    const bool is_drawn = std::any_of(taken.begin(), taken.end(), [&](const PlainCandidate* one) {
      return one->item_id == candidate.item_id;
    });
    const char* how = is_drawn ? ", drawn (es3.md §2)" : ", not drawn, but credited (es3.md §3.3)";
    out += fmt::format("candidate {}: {}{}\n{}", quote_bytes(candidate.item_id), position,
                       candidate.position ? "" : how, describe_labels(*item));
  }
  return out + events_text(facts, request, candidate.item_id);
}

// A row of §4: "x:" domain ":" request ":" hash of its query.
std::string why_cross_row(const Options& options, const logstore::LogStore& store, const Days& days,
                          const std::string& row_id, const std::string& item_id) {
  constexpr size_t kHashLength = 16;
  PlainFilter filter;
  filter.first_day = days.first;
  filter.last_day = days.last;
  filter.requests = [&](const PlainRequest& request) {
    const std::string id = "x:" + request.domain + ":" + request.request_id + ":";
    return request.domain != store.schema().search_domain && row_id.size() == id.size() + kHashLength &&
           row_id.starts_with(id);
  };
  std::string out;
  for (const PlainRequest& request : read_logs(store, filter).requests) {
    const Case facts = case_of(options, store, request);
    const std::vector<PlainSample> samples = facts.twin().samples({}, base::day_of(request.ts_ms));
    for (const PlainSample& row : samples) {
      if (row.request_id != row_id || row.ts_ms != request.ts_ms || row.user_id != request.user_id) continue;
      const auto item = std::find_if(row.items.begin(), row.items.end(),
                                     [&](const PlainSampleItem& one) { return one.item_id == item_id; });
      US_REQUIRE(item != row.items.end(),
                 fmt::format("{}: searchified request {} has no item {} ({} in its list)", options.store,
                             quote_bytes(row_id), quote_bytes(item_id), row.items.size()));
      if (!out.empty()) out += "\n";
      out += fmt::format("searchified request of {}; query {} by tier {}, score {}\n", describe(request),
                         text_of(row.query), kTierNames[static_cast<size_t>(row.query_tier)],
                         row.query_score.value_or(0));
      out += fmt::format("item {}: {} at position {}\n{}", quote_bytes(item_id),
                         schema::kOriginNames[static_cast<size_t>(item->origin)], item->position.value_or(0),
                         describe_labels(*item));
      out += events_text(facts, request, item_id);
    }
  }
  return out;
}

}  // namespace

std::string why_label(const Options& options, const std::string& request_id, const std::string& item_id) {
  check(options);
  const logstore::LogStore store(options.store);
  const Days days = search_days(options, store);
  const std::vector<PlainRequest> requests = find_requests(store, days, request_id);
  if (requests.empty()) {
    const std::string cross = why_cross_row(options, store, days, request_id, item_id);
    if (!cross.empty()) return cross;
  }
  US_REQUIRE(!requests.empty(),
             fmt::format("{}: no search request {} from {} to {}", options.store, quote_bytes(request_id),
                         base::format_day(days.first), base::format_day(days.last)));
  std::string out;
  for (const PlainRequest& request : requests) {
    const PlainCandidate* candidate = candidate_of(request, item_id);
    if (candidate == nullptr) continue;
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
    std::set<std::string> users;
    std::set<std::string> request_ids;
    if (event.user_id) users.insert(*event.user_id);
    if (event.request_id) request_ids.insert(*event.request_id);
    // An event with neither is in no other row.
    PlainLogs logs = read_concerned(store, options, event.ts_ms, event.ts_ms, users, request_ids);
    if (!event.user_id && !event.request_id) logs.events.push_back(event);
    const Case facts(store, options, std::move(logs));
    for (const EventFate& fate : facts.twin().fates()) {
      if (fate.event->event_id != event.event_id || fate.event->ts_ms != event.ts_ms) continue;
      if (!out.empty()) out += "\n";
      out += describe(event) + "\n" + facts.fate_text(fate, "  ");
      if (fate.request) out += fmt::format("  in {}\n", describe(*fate.request));
      if (fate.fate == Verdict::Native || fate.fate == Verdict::Attributed) {
        out += event.action == schema::kClick
                   ? std::string("  sets click\n")
                   : fmt::format("  sets {} and, by closure, click\n", event.action);
      }
    }
  }
  return out;
}

}  // namespace uniscale::es3
