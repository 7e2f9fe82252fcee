#include "es3/reference.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/hash.h"
#include "es3/detail/reference_steps.h"

namespace uniscale::es3 {

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

const PlainItem* item_at_time(const PlainLogs& logs, const std::string& item_id, int64_t ts_ms) {
  const PlainItem* version = nullptr;
  for (const PlainItem& one : logs.items) {
    if (one.item_id == item_id && one.ts_ms <= ts_ms && (!version || one.ts_ms > version->ts_ms))
      version = &one;
  }
  return version;
}

bool is_label_action(const std::string& action) {
  return action == "click" || action == "cart" || action == "purchase";
}

bool is_earlier(const PlainEvent& a, const PlainEvent& b) {
  return std::tie(a.ts_ms, a.event_id) < std::tie(b.ts_ms, b.event_id);
}

bool is_greater_cosine(int64_t a_dot, int64_t a_squared_norm, int64_t b_dot, int64_t b_squared_norm) {
  // dot ≤ 2^17 or so for the longest texts, so that the products need more than 64 bits.
  __extension__ using Wide = unsigned __int128;
  const auto wide = [](int64_t value) { return static_cast<Wide>(value); };
  return wide(a_dot) * wide(a_dot) * wide(b_squared_norm) > wide(b_dot) * wide(b_dot) * wide(a_squared_norm);
}

const text::NgramVector& TextVectors::of(const std::string& raw_text) {
  const auto found = vectors_.find(raw_text);
  if (found != vectors_.end()) return found->second;
  return vectors_.emplace(raw_text, text::ngram_vector(raw_text, hash_seed_)).first->second;
}

int64_t action_window_ms(const Options& options, const std::string& action) {
  if (action == "click") return options.click_window.ms;
  if (action == "cart") return options.cart_window.ms;
  return options.purchase_window.ms;
}

namespace {

// "An event with request_id": all requests of the domain with that id within W of the event (W + clock_skew
// after it). The event's own user's come first; then the latest that is not later than ts + clock_skew, then
// the earliest later one.
const PlainRequest* named_request(const PlainLogs& logs, const std::string& domain, const Options& options,
                                  const PlainEvent& event) {
  const int64_t longest =
      std::max({options.click_window.ms, options.cart_window.ms, options.purchase_window.ms});
  std::vector<const PlainRequest*> named;
  for (const PlainRequest& request : logs.requests) {
    if (request.domain != domain || request.request_id != *event.request_id) continue;
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

// "An event without request_id": the latest request of its user that exposed the item in [ts -
// native_window, ts].
const PlainRequest* found_request(const PlainLogs& logs, const std::string& domain, const Options& options,
                                  const PlainEvent& event) {
  const PlainRequest* best = nullptr;
  if (!event.user_id) return nullptr;
  for (const PlainRequest& request : logs.requests) {
    if (request.domain != domain || request.user_id != event.user_id) continue;
    if (request.ts_ms > event.ts_ms || request.ts_ms < event.ts_ms - options.native_window.ms) continue;
    const PlainCandidate* candidate = candidate_of(request, event.item_id);
    if (!candidate || !candidate->position) continue;
    if (!best || request.ts_ms > best->ts_ms ||
        (request.ts_ms == best->ts_ms && request.request_id < best->request_id))
      best = &request;
  }
  return best;
}

// The earliest native event of one of `actions` labels, else the earliest credit of one.
PlainLabel label_of(const Twin& twin, const Options& options, const PlainRequest& request,
                    const std::string& item_id, const std::vector<std::string>& actions,
                    const std::string& search_domain) {
  const PlainEvent* earliest = nullptr;
  for (const NativeEvent& native : twin.natives()) {
    if (native.request != &request || native.event->item_id != item_id ||
        !is_in(actions, native.event->action))
      continue;
    if (!earliest || is_earlier(*native.event, *earliest)) earliest = native.event;
  }
  PlainLabel label;
  if (earliest) {
    label.value = true;
    label.source = static_cast<int8_t>(schema::LabelSource::Native);
    label.domain = search_domain;
    label.delay_ms = earliest->ts_ms - request.ts_ms;
    return label;
  }
  const PlainCredit* first = nullptr;
  for (const PlainCredit& credit : twin.credits()) {
    if (credit.request != &request || credit.event->item_id != item_id ||
        !is_in(actions, credit.event->action))
      continue;
    if (!first || is_earlier(*credit.event, *first->event)) first = &credit;
  }
  if (!first) return label;
  label.value = true;
  label.source = static_cast<int8_t>(first->source);
  label.domain = first->event->domain;
  label.delay_ms = first->event->ts_ms - request.ts_ms;
  label.weight = static_cast<float>(credit_weight(options, *first->event, *label.delay_ms));
  return label;
}

}  // namespace

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

namespace {

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

PlainSampleItem sample_item(const Twin& twin, const PlainLogs& logs, const schema::LogSchema& schema,
                            const Options& options, const PlainRequest& request,
                            const PlainCandidate& candidate) {
  PlainSampleItem item =
      plain_sample_item(logs, schema, request, candidate,
                        candidate.position ? schema::Origin::Exposed : schema::Origin::Unexposed);
  // Closure: purchase ⇒ click, cart ⇒ click.
  const std::vector<std::string> actions[] = {{"click", "cart", "purchase"}, {"cart"}, {"purchase"}};
  for (size_t task = 0; task < item.labels.size(); ++task) {
    item.labels[task] =
        label_of(twin, options, request, candidate.item_id, actions[task], schema.search_domain);
  }
  return item;
}

// §3.3: a credited undrawn candidate joins the samples.
bool has_credit(const Twin& twin, const PlainRequest& request, const std::string& item_id) {
  for (const PlainCredit& credit : twin.credits()) {
    if (credit.request == &request && credit.event->item_id == item_id) return true;
  }
  return false;
}

PlainSample search_sample(const Twin& twin, const PlainLogs& logs, const schema::LogSchema& schema,
                          const Options& options, const PlainRequest& request) {
  PlainSample sample;
  sample.request_id = request.request_id;
  sample.domain = request.domain;
  sample.user_id = request.user_id;
  sample.ts_ms = request.ts_ms;
  sample.query = request.query;
  sample.context = request.context;
  const std::vector<const PlainCandidate*> taken = drawn(request, options, schema.hash_seed);
  for (const PlainCandidate& candidate : request.candidates) {
    const bool is_drawn = std::find(taken.begin(), taken.end(), &candidate) != taken.end();
    if (candidate.position || is_drawn || has_credit(twin, request, candidate.item_id))
      sample.items.push_back(sample_item(twin, logs, schema, options, request, candidate));
  }
  return sample;
}

// What a row says about its user, and the order of its items: the same for every kind of row.
void finish_sample(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                   const std::vector<schema::SequenceOptions>& sequences, const PlainRequest& request,
                   PlainSample& sample) {
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
  std::sort(sample.items.begin(), sample.items.end(), [](const PlainSampleItem& a, const PlainSampleItem& b) {
    return std::tuple(a.origin, a.position.value_or(0), a.item_id) <
           std::tuple(b.origin, b.position.value_or(0), b.item_id);
  });
}

Action action_named(const std::string& action) {
  if (action == "click") return Action::Click;
  if (action == "cart") return Action::Cart;
  return action == "purchase" ? Action::Purchase : Action::Other;
}

}  // namespace

PlainSampleItem plain_sample_item(const PlainLogs& logs, const schema::LogSchema& schema,
                                  const PlainRequest& request, const PlainCandidate& candidate,
                                  schema::Origin origin) {
  PlainSampleItem item;
  item.item_id = candidate.item_id;
  item.origin = static_cast<int8_t>(origin);
  item.position = candidate.position;
  item.score = candidate.score;
  item.candidate_features = candidate.features;
  item.item_features.resize(schema.item.size());
  if (const PlainItem* version = item_at_time(logs, candidate.item_id, request.ts_ms)) {
    item.title = version->title;
    item.category = version->category;
    item.item_features = version->features;
  }
  return item;
}

EventPath follow_in_domain(const PlainLogs& logs, const std::string& domain, const Options& options,
                           const PlainEvent& event) {
  const PlainRequest* request = event.request_id ? named_request(logs, domain, options, event)
                                                 : found_request(logs, domain, options, event);
  if (!request) return {event.request_id ? Verdict::UnknownRequest : Verdict::NoRequestFound, nullptr};
  const PlainCandidate* candidate = candidate_of(*request, event.item_id);
  if (!candidate) return {Verdict::ItemNotInList, request};
  if (!candidate->position) return {Verdict::NotExposed, request};
  if (event.ts_ms < request->ts_ms - options.clock_skew.ms) return {Verdict::BeforeRequest, request};
  if (event.ts_ms > request->ts_ms + action_window_ms(options, event.action))
    return {Verdict::WindowPassed, request};
  return {Verdict::Native, request};
}

EventPath follow_event(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                       const PlainEvent& event) {
  if (!is_label_action(event.action)) return {Verdict::OtherAction, nullptr};
  if (event.domain != schema.search_domain) return {Verdict::CrossDomain, nullptr};
  return follow_in_domain(logs, schema.search_domain, options, event);
}

Twin::Twin(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options)
    : logs_(logs), schema_(schema), options_(options) {
  follow_events();
  PlainPastDays past(logs, schema, options, natives_);
  settle(past);
}

Twin::Twin(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options, PastDays& past)
    : logs_(logs), schema_(schema), options_(options) {
  follow_events();
  settle(past);
}

void Twin::follow_events() {
  for (const PlainEvent& event : logs_.events) {
    EventFate fate;
    fate.event = &event;
    fate.path = follow_event(logs_, schema_, options_, event);
    fate.fate = fate.path.verdict;
    if (fate.fate == Verdict::Native) {
      fate.request = fate.path.request;
      natives_.push_back({&event, fate.path.request});
    }
    fates_.push_back(fate);
  }
}

void Twin::settle(PastDays& past) {
  TextVectors vectors(schema_.hash_seed);
  const TwinInputs inputs{logs_, schema_, options_, natives_, vectors, past};
  credits_ = attribute_events(inputs, fates_);
  cross_clicks_ = searchify_events(inputs, fates_);
}

std::vector<PlainSample> Twin::samples(const std::vector<schema::SequenceOptions>& sequences,
                                       base::Day day) const {
  std::vector<PlainSample> samples;
  for (const PlainRequest& request : logs_.requests) {
    if (request.domain != schema_.search_domain || base::day_of(request.ts_ms) != day) continue;
    samples.push_back(search_sample(*this, logs_, schema_, options_, request));
    finish_sample(logs_, schema_, options_, sequences, request, samples.back());
  }
  for (CrossRow& row : cross_rows(logs_, schema_, options_, cross_clicks_)) {
    if (base::day_of(row.request->ts_ms) != day) continue;
    samples.push_back(std::move(row.sample));
    finish_sample(logs_, schema_, options_, sequences, *row.request, samples.back());
  }
  const auto bucket_of = [&](const PlainSample& sample) {
    return base::bucket_of_user(sample.user_id.value_or(""), schema_.num_buckets, schema_.hash_seed);
  };
  std::sort(samples.begin(), samples.end(), [&](const PlainSample& a, const PlainSample& b) {
    return std::tuple(bucket_of(a), a.ts_ms, a.request_id, a.user_id) <
           std::tuple(bucket_of(b), b.ts_ms, b.request_id, b.user_id);
  });
  return samples;
}

std::vector<PlainSample> reference_samples(const PlainLogs& logs, const schema::LogSchema& schema,
                                           const Options& options,
                                           const std::vector<schema::SequenceOptions>& sequences,
                                           base::Day day) {
  return Twin(logs, schema, options).samples(sequences, day);
}

bool is_used(Verdict fate) {
  return fate == Verdict::Native || fate == Verdict::Attributed || fate == Verdict::DuplicateCredit ||
         fate == Verdict::AlreadyLabelled || fate == Verdict::CrossPositive || fate == Verdict::CrossLabel;
}

EventCounts reference_counts(const std::vector<EventFate>& fates, const schema::LogSchema& schema,
                             base::Day day) {
  EventCounts counts;
  for (const EventFate& fate : fates) {
    if (base::day_of(fate.event->ts_ms) != day) continue;
    ++counts.num_events;
    const Action action = action_named(fate.event->action);
    const bool is_of_own_request = fate.request && fate.request->domain != schema.search_domain;
    const bool is_elsewhere = is_of_own_request && base::day_of(fate.request->ts_ms) != day;
    counts.add(is_elsewhere ? Verdict::RequestOfOtherDay : fate.fate, action);
    if (is_orphan(fate.path.verdict))
      ++counts.orphans[static_cast<size_t>(fate.path.verdict)][static_cast<size_t>(action)];
  }
  return counts;
}

EventCounts reference_counts(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                             base::Day day) {
  return reference_counts(Twin(logs, schema, options).fates(), schema, day);
}

}  // namespace uniscale::es3
