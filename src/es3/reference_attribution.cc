// The slow twin of es3.md §3: for each event every sample of its user and item is looked at.
#include <algorithm>
#include <cmath>

#include "es3/detail/reference_steps.h"

namespace uniscale::es3 {
namespace {

using schema::LabelSource;

// A sample of the event's user and item (§3.1).
struct Sample {
  const PlainRequest* request;
  const PlainCandidate* candidate;
};

std::vector<Sample> samples_in_window(const TwinInputs& in, const PlainEvent& event) {
  std::vector<Sample> samples;
  for (const PlainRequest& request : in.logs.requests) {
    if (request.domain != in.schema.search_domain || request.user_id != event.user_id) continue;
    if (request.ts_ms > event.ts_ms ||
        request.ts_ms < event.ts_ms - action_window_ms(in.options, event.action))
      continue;
    const PlainCandidate* candidate = candidate_of(request, event.item_id);
    if (!candidate) continue;
    bool is_sample = candidate->position.has_value() || in.options.attribute_undrawn;
    if (!is_sample) {
      for (const PlainCandidate* one : drawn(request, in.options, in.schema.hash_seed)) {
        if (one == candidate) is_sample = true;
      }
    }
    if (is_sample) samples.push_back({&request, candidate});
  }
  return samples;
}

// Whether anybody has seen a title by then.
bool has_titles(const PlainLogs& logs, int64_t ts_ms) {
  for (const PlainItem& item : logs.items) {
    if (item.title && item.ts_ms <= ts_ms) return true;
  }
  return false;
}

// §3.2, `text`: the title is the one the sample carries.
bool is_similar(const TwinInputs& in, const PlainRequest& request, const std::string& item_id) {
  const PlainItem* item = item_at_time(in.logs, item_id, request.ts_ms);
  if (!request.query || !item || !item->title) return false;
  return text::at_least(in.vectors.of(*request.query), in.vectors.of(*item->title),
                        in.options.gate_similarity);
}

// §3.2, `co_click`. A null or empty query is none.
bool is_co_clicked(const TwinInputs& in, const PlainRequest& request, const std::string& item_id,
                   int64_t event_ts_ms) {
  if (!request.query || request.query->empty()) return false;
  const PlainItem* item = item_at_time(in.logs, item_id, request.ts_ms);
  return in.past.was_clicked(*request.query, item_id, item ? item->category : std::nullopt,
                             base::day_of(event_ts_ms));
}

bool is_relevant(const TwinInputs& in, const PlainRequest& request, const std::string& item_id,
                 int64_t event_ts_ms) {
  const std::string& gate = in.options.relevance_gate;
  if (gate == "none") return true;
  if (gate == "co_click") return is_co_clicked(in, request, item_id, event_ts_ms);
  // The other two need titles.
  if (!has_titles(in.logs, request.ts_ms)) return true;
  if (is_similar(in, request, item_id)) return true;
  return gate == "either" && is_co_clicked(in, request, item_id, event_ts_ms);
}

// The level of a sample by its native state as of the event (§3.3).
LabelSource level_of(const TwinInputs& in, const Sample& sample, const PlainEvent& event) {
  if (!sample.candidate->position) return LabelSource::HlaUnexposed;
  if (is_native(in.natives, *sample.request, event.item_id, {"click", "cart", "purchase"}, event.ts_ms))
    return LabelSource::HlaClicked;
  return LabelSource::HlaExposed;
}

bool is_labelled(const TwinInputs& in, const Sample& sample, const PlainEvent& event) {
  std::vector<std::string> actions = {event.action};
  if (event.action == "click") actions = {"click", "cart", "purchase"};
  return is_native(in.natives, *sample.request, event.item_id, actions, event.ts_ms);
}

void attribute_one(const TwinInputs& in, EventFate& fate) {
  const PlainEvent& event = *fate.event;
  const std::vector<Sample> samples = samples_in_window(in, event);
  std::vector<LabelSource> levels = {LabelSource::HlaExposed, LabelSource::HlaUnexposed};
  if (event.action != "click") levels.insert(levels.begin(), LabelSource::HlaClicked);
  for (const LabelSource level : levels) {
    const Sample* latest = nullptr;
    for (const Sample& sample : samples) {
      if (level_of(in, sample, event) != level) continue;
      if (!is_relevant(in, *sample.request, event.item_id, event.ts_ms)) continue;
      if (!latest || sample.request->ts_ms > latest->request->ts_ms ||
          (sample.request->ts_ms == latest->request->ts_ms &&
           sample.request->request_id < latest->request->request_id))
        latest = &sample;
    }
    if (!latest) continue;
    fate.request = latest->request;
    if (is_labelled(in, *latest, event)) {
      fate.fate = Verdict::AlreadyLabelled;
    } else {
      fate.fate = Verdict::Attributed;
      fate.source = level;
    }
    return;
  }
  for (const Sample& sample : samples) {
    if (!is_labelled(in, sample, event)) continue;
    fate.fate = Verdict::AlreadyLabelled;
    // Named for the reader only: any of them will do.
    if (!fate.request || sample.request->ts_ms > fate.request->ts_ms) fate.request = sample.request;
  }
}

}  // namespace

bool is_native(const std::vector<NativeEvent>& natives, const PlainRequest& request,
               const std::string& item_id, const std::vector<std::string>& actions, int64_t as_of_ms) {
  for (const NativeEvent& native : natives) {
    if (native.request == &request && native.event->item_id == item_id &&
        is_in(actions, native.event->action) && native.event->ts_ms <= as_of_ms)
      return true;
  }
  return false;
}

double credit_weight(const Options& options, const PlainEvent& event, int64_t delay_ms) {
  double weight = 1;
  const auto confidence = options.confidence.find(event.domain + "/" + event.action);
  if (confidence != options.confidence.end()) weight = confidence->second;
  if (options.half_life.ms > 0)
    weight *= std::exp2(-static_cast<double>(delay_ms) / static_cast<double>(options.half_life.ms));
  return weight;
}

std::vector<SampleView> samples_of_event(const TwinInputs& inputs, const PlainEvent& event) {
  std::vector<SampleView> views;
  if (!event.user_id) return views;
  for (const Sample& sample : samples_in_window(inputs, event)) {
    views.push_back({sample.request, level_of(inputs, sample, event),
                     is_relevant(inputs, *sample.request, event.item_id, event.ts_ms),
                     is_labelled(inputs, sample, event)});
  }
  return views;
}

std::vector<PlainCredit> attribute_events(const TwinInputs& inputs, std::vector<EventFate>& fates) {
  std::vector<PlainCredit> credits;
  if (!inputs.options.attribution) return credits;
  for (EventFate& fate : fates) {
    // Cross-domain events and orphans with a user.
    if (fate.fate == Verdict::Native || fate.fate == Verdict::OtherAction || !fate.event->user_id) continue;
    attribute_one(inputs, fate);
  }
  // One credit per user, item, action and request: the earliest event has it.
  for (EventFate& fate : fates) {
    if (fate.fate != Verdict::Attributed) continue;
    for (const EventFate& other : fates) {
      const bool same = (other.fate == Verdict::Attributed || other.fate == Verdict::DuplicateCredit) &&
                        other.request == fate.request && other.event->item_id == fate.event->item_id &&
                        other.event->action == fate.event->action;
      if (same && is_earlier(*other.event, *fate.event)) fate.fate = Verdict::DuplicateCredit;
    }
    if (fate.fate == Verdict::Attributed) credits.push_back({fate.event, fate.request, fate.source});
  }
  return credits;
}

}  // namespace uniscale::es3
