#include "es3/reference.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/hash.h"

namespace uniscale::es3 {
namespace {

bool is_in(const std::vector<std::string>& names, const std::string& name) {
  for (const std::string& one : names) {
    if (one == name) return true;
  }
  return false;
}

const PlainCandidate* candidate_of(const PlainRequest& request, const std::string& item_id) {
  for (const PlainCandidate& candidate : request.candidates) {
    if (candidate.item_id == item_id) return &candidate;
  }
  return nullptr;
}

int64_t action_window_ms(const Options& options, const std::string& action) {
  if (action == "click") return options.click_window.ms;
  if (action == "cart") return options.cart_window.ms;
  return options.purchase_window.ms;
}

// "An event with request_id": all search requests with that id within W of the event (W + clock_skew after
// it). The event's own user's come first; then the latest that is not later than ts + clock_skew, then the
// earliest later one.
const PlainRequest* named_request(const PlainLogs& logs, const schema::LogSchema& schema,
                                  const Options& options, const PlainEvent& event) {
  const int64_t longest =
      std::max({options.click_window.ms, options.cart_window.ms, options.purchase_window.ms});
  std::vector<const PlainRequest*> named;
  for (const PlainRequest& request : logs.requests) {
    if (request.domain != schema.search_domain || request.request_id != *event.request_id) continue;
    if (request.ts_ms < event.ts_ms - longest ||
        request.ts_ms > event.ts_ms + longest + options.clock_skew.ms)
      continue;
    named.push_back(&request);
  }
  std::vector<const PlainRequest*> own;
  for (const PlainRequest* request : named) {
    if (event.user_id && request->user_id == event.user_id) own.push_back(request);
  }
  if (!own.empty()) named = own;
  const PlainRequest* best = nullptr;
  for (const PlainRequest* request : named) {
    if (request->ts_ms > event.ts_ms + options.clock_skew.ms) continue;
    if (!best || request->ts_ms > best->ts_ms ||
        (request->ts_ms == best->ts_ms && request->user_id < best->user_id))
      best = request;
  }
  if (best) return best;
  for (const PlainRequest* request : named) {
    if (!best || request->ts_ms < best->ts_ms ||
        (request->ts_ms == best->ts_ms && request->user_id < best->user_id))
      best = request;
  }
  return best;
}

// "An event without request_id": the latest search request of its user that exposed the item in [ts -
// native_window, ts].
const PlainRequest* found_request(const PlainLogs& logs, const schema::LogSchema& schema,
                                  const Options& options, const PlainEvent& event) {
  const PlainRequest* best = nullptr;
  if (!event.user_id) return nullptr;
  for (const PlainRequest& request : logs.requests) {
    if (request.domain != schema.search_domain || request.user_id != event.user_id) continue;
    if (request.ts_ms > event.ts_ms || request.ts_ms < event.ts_ms - options.native_window.ms) continue;
    const PlainCandidate* candidate = candidate_of(request, event.item_id);
    if (!candidate || !candidate->position) continue;
    if (!best || request.ts_ms > best->ts_ms ||
        (request.ts_ms == best->ts_ms && request.request_id < best->request_id))
      best = &request;
  }
  return best;
}

struct NativeEvent {
  const PlainEvent* event;
  const PlainRequest* request;
};

std::vector<NativeEvent> native_events(const PlainLogs& logs, const schema::LogSchema& schema,
                                       const Options& options) {
  std::vector<NativeEvent> natives;
  for (const PlainEvent& event : logs.events) {
    const EventPath path = follow_event(logs, schema, options, event);
    if (path.verdict == Verdict::Native) natives.push_back({&event, path.request});
  }
  return natives;
}

PlainLabel label_of(const std::vector<NativeEvent>& natives, const PlainRequest& request,
                    const std::string& item_id, const std::vector<std::string>& actions,
                    const std::string& search_domain) {
  const PlainEvent* earliest = nullptr;
  for (const NativeEvent& native : natives) {
    if (native.request != &request || native.event->item_id != item_id ||
        !is_in(actions, native.event->action))
      continue;
    if (!earliest || std::tie(native.event->ts_ms, native.event->event_id) <
                         std::tie(earliest->ts_ms, earliest->event_id)) {
      earliest = native.event;
    }
  }
  PlainLabel label;
  if (!earliest) return label;
  label.value = true;
  label.source = static_cast<int8_t>(schema::LabelSource::Native);
  label.domain = search_domain;
  label.delay_ms = earliest->ts_ms - request.ts_ms;
  return label;
}

// The unexposed candidates that §2 draws.
std::vector<const PlainCandidate*> drawn(const PlainRequest& request, const Options& options,
                                         uint64_t hash_seed) {
  std::vector<const PlainCandidate*> pool;
  int64_t num_exposed = 0;
  for (const PlainCandidate& candidate : request.candidates) {
    if (candidate.position) {
      ++num_exposed;
    } else {
      pool.push_back(&candidate);
    }
  }
  const int64_t num_unexposed = static_cast<int64_t>(pool.size());
  int64_t k = std::min(num_unexposed, options.unexposed_if_empty);
  if (num_exposed > 0) {
    k = static_cast<int64_t>(std::floor(options.unexposed_ratio * static_cast<double>(num_exposed) + 0.5));
    k = std::min({k, num_unexposed, options.unexposed_cap});
  }
  const int64_t num_hard =
      static_cast<int64_t>(std::floor(options.hard_share * static_cast<double>(k) + 0.5));

  const auto by_score = [](const PlainCandidate* a, const PlainCandidate* b) {
    const bool a_scored = a->score && !std::isnan(*a->score);
    const bool b_scored = b->score && !std::isnan(*b->score);
    if (a_scored != b_scored) return a_scored;
    if (a_scored && *a->score != *b->score) return *a->score > *b->score;
    return a->item_id < b->item_id;
  };
  const auto by_hash = [&](const PlainCandidate* a, const PlainCandidate* b) {
    const uint64_t a_hash = base::stable_hash(hash_seed, request.request_id, a->item_id);
    const uint64_t b_hash = base::stable_hash(hash_seed, request.request_id, b->item_id);
    return a_hash != b_hash ? a_hash < b_hash : a->item_id < b->item_id;
  };
  std::vector<const PlainCandidate*> taken;
  std::sort(pool.begin(), pool.end(), by_score);
  taken.assign(pool.begin(), pool.begin() + num_hard);
  pool.erase(pool.begin(), pool.begin() + num_hard);
  std::sort(pool.begin(), pool.end(), by_hash);
  taken.insert(taken.end(), pool.begin(), pool.begin() + (k - num_hard));
  return taken;
}

int32_t plain_age_bucket(int64_t now_ms, int64_t ts_ms) {
  // 1 + seconds, halved until it is below 2: floor(log2) without rounding.
  int64_t value = 1 + (now_ms - ts_ms) / 1000;
  int32_t bucket = 0;
  while (value >= 2) {
    value /= 2;
    ++bucket;
  }
  return bucket;
}

template <class Row, class IdOf>
void keep_latest(std::vector<const Row*>& rows, int64_t length, const IdOf& id_of) {
  std::sort(rows.begin(), rows.end(), [&](const Row* a, const Row* b) {
    return std::tuple(a->ts_ms, id_of(*a)) < std::tuple(b->ts_ms, id_of(*b));
  });
  while (static_cast<int64_t>(rows.size()) > length) rows.erase(rows.begin());
}

bool is_visible(const PlainRequest& request, const Options& options, int64_t ts_ms, int64_t known_ms) {
  return ts_ms >= request.ts_ms - options.history_lookback.ms &&
         ts_ms < request.ts_ms - options.history_gap.ms && known_ms < request.ts_ms;
}

std::vector<PlainHistoryEntry> history_of(const PlainLogs& logs, const Options& options,
                                          const schema::SequenceOptions& sequence,
                                          const PlainRequest& request) {
  std::vector<const PlainEvent*> seen;
  for (const PlainEvent& event : logs.events) {
    if (!request.user_id || event.user_id != request.user_id) continue;
    if (!is_in(sequence.actions, event.action)) continue;
    if (!sequence.domains.empty() && !is_in(sequence.domains, event.domain)) continue;
    if (is_visible(request, options, event.ts_ms, event.known_ms)) seen.push_back(&event);
  }
  keep_latest(seen, options.history_length, [](const PlainEvent& event) { return event.event_id; });
  std::vector<PlainHistoryEntry> history;
  for (const PlainEvent* event : seen) {
    history.push_back(
        {event->item_id, event->action, event->domain, plain_age_bucket(request.ts_ms, event->ts_ms)});
  }
  return history;
}

std::vector<PlainQueryEntry> queries_of(const PlainLogs& logs, const schema::LogSchema& schema,
                                        const Options& options, const PlainRequest& request) {
  std::vector<const PlainRequest*> seen;
  for (const PlainRequest& other : logs.requests) {
    if (!request.user_id || other.user_id != request.user_id || other.domain != schema.search_domain)
      continue;
    if (!other.query || other.query->empty()) continue;
    if (is_visible(request, options, other.ts_ms, other.ts_ms)) seen.push_back(&other);
  }
  keep_latest(seen, options.query_history_length, [](const PlainRequest& other) { return other.request_id; });
  std::vector<PlainQueryEntry> history;
  for (const PlainRequest* other : seen)
    history.push_back({*other->query, plain_age_bucket(request.ts_ms, other->ts_ms)});
  return history;
}

PlainSampleItem sample_item(const PlainLogs& logs, const schema::LogSchema& schema,
                            const std::vector<NativeEvent>& natives, const PlainRequest& request,
                            const PlainCandidate& candidate) {
  PlainSampleItem item;
  item.item_id = candidate.item_id;
  item.origin = static_cast<int8_t>(candidate.position ? schema::Origin::Exposed : schema::Origin::Unexposed);
  item.position = candidate.position;
  // Closure: purchase ⇒ click, cart ⇒ click.
  item.labels[0] =
      label_of(natives, request, candidate.item_id, {"click", "cart", "purchase"}, schema.search_domain);
  item.labels[1] = label_of(natives, request, candidate.item_id, {"cart"}, schema.search_domain);
  item.labels[2] = label_of(natives, request, candidate.item_id, {"purchase"}, schema.search_domain);
  item.score = candidate.score;
  item.candidate_features = candidate.features;
  const PlainItem* version = nullptr;
  for (const PlainItem& one : logs.items) {
    if (one.item_id == candidate.item_id && one.ts_ms <= request.ts_ms &&
        (!version || one.ts_ms > version->ts_ms))
      version = &one;
  }
  item.item_features.resize(schema.item.size());
  if (version) {
    item.title = version->title;
    item.category = version->category;
    item.item_features = version->features;
  }
  return item;
}

PlainSample sample_of(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                      const std::vector<schema::SequenceOptions>& sequences,
                      const std::vector<NativeEvent>& natives, const PlainRequest& request) {
  PlainSample sample;
  sample.request_id = request.request_id;
  sample.domain = request.domain;
  sample.user_id = request.user_id;
  sample.ts_ms = request.ts_ms;
  sample.query = request.query;
  sample.context = request.context;
  sample.user.resize(schema.user.size());
  const PlainUser* version = nullptr;
  for (const PlainUser& one : logs.users) {
    if (request.user_id && one.user_id == *request.user_id && one.ts_ms <= request.ts_ms &&
        (!version || one.ts_ms > version->ts_ms)) {
      version = &one;
    }
  }
  if (version) sample.user = version->features;
  for (const schema::SequenceOptions& sequence : sequences)
    sample.histories.push_back(history_of(logs, options, sequence, request));
  sample.queries = queries_of(logs, schema, options, request);
  for (const PlainCandidate& candidate : request.candidates) {
    if (candidate.position) sample.items.push_back(sample_item(logs, schema, natives, request, candidate));
  }
  for (const PlainCandidate* candidate : drawn(request, options, schema.hash_seed)) {
    sample.items.push_back(sample_item(logs, schema, natives, request, *candidate));
  }
  std::sort(sample.items.begin(), sample.items.end(), [](const PlainSampleItem& a, const PlainSampleItem& b) {
    return std::tuple(a.origin, a.position.value_or(0), a.item_id) <
           std::tuple(b.origin, b.position.value_or(0), b.item_id);
  });
  return sample;
}

}  // namespace

EventPath follow_event(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                       const PlainEvent& event) {
  if (event.action != "click" && event.action != "cart" && event.action != "purchase")
    return {Verdict::OtherAction, nullptr};
  if (event.domain != schema.search_domain) return {Verdict::CrossDomain, nullptr};
  const PlainRequest* request = event.request_id ? named_request(logs, schema, options, event)
                                                 : found_request(logs, schema, options, event);
  if (!request) return {event.request_id ? Verdict::UnknownRequest : Verdict::NoRequestFound, nullptr};
  const PlainCandidate* candidate = candidate_of(*request, event.item_id);
  if (!candidate) return {Verdict::ItemNotInList, request};
  if (!candidate->position) return {Verdict::NotExposed, request};
  if (event.ts_ms < request->ts_ms - options.clock_skew.ms) return {Verdict::BeforeRequest, request};
  if (event.ts_ms > request->ts_ms + action_window_ms(options, event.action))
    return {Verdict::WindowPassed, request};
  return {Verdict::Native, request};
}

std::vector<PlainSample> reference_samples(const PlainLogs& logs, const schema::LogSchema& schema,
                                           const Options& options,
                                           const std::vector<schema::SequenceOptions>& sequences,
                                           base::Day day) {
  const std::vector<NativeEvent> natives = native_events(logs, schema, options);
  std::vector<PlainSample> samples;
  for (const PlainRequest& request : logs.requests) {
    if (request.domain == schema.search_domain && base::day_of(request.ts_ms) == day) {
      samples.push_back(sample_of(logs, schema, options, sequences, natives, request));
    }
  }
  const auto bucket_of = [&](const PlainSample& sample) {
    return base::bucket_of_user(sample.user_id.value_or(""), schema.num_buckets, schema.hash_seed);
  };
  std::sort(samples.begin(), samples.end(), [&](const PlainSample& a, const PlainSample& b) {
    return std::tuple(bucket_of(a), a.ts_ms, a.request_id, a.user_id) <
           std::tuple(bucket_of(b), b.ts_ms, b.request_id, b.user_id);
  });
  return samples;
}

EventCounts reference_counts(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                             base::Day day) {
  EventCounts counts;
  for (const PlainEvent& event : logs.events) {
    if (base::day_of(event.ts_ms) != day) continue;
    ++counts.num_events;
    Action action = Action::Other;
    if (event.action == "click") action = Action::Click;
    if (event.action == "cart") action = Action::Cart;
    if (event.action == "purchase") action = Action::Purchase;
    counts.add(follow_event(logs, schema, options, event).verdict, action);
  }
  return counts;
}

}  // namespace uniscale::es3
