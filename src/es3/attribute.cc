#include "es3/attribute.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "es3/item_places.h"

namespace uniscale::es3 {
namespace {

// Whether an item is relevant to a query (§3.2).
class RelevanceGate {
 public:
  RelevanceGate(const Options& options, const Knowledge& knowledge)
      : threshold_(options.gate_similarity), knowledge_(knowledge) {
    const std::string& gate = options.relevance_gate;
    asks_text_ = gate == "either" || gate == "text";
    asks_clicks_ = gate == "either" || gate == "co_click";
  }

  bool is_open(const RequestRow& request, std::string_view item_id, base::Day event_day) {
    if (!asks_text_ && !asks_clicks_) return true;
    // Without titles there is nothing to compare: `text` and `either` are open.
    if (asks_text_ && !knowledge_.items.has_titles_at(request.ts_ms)) return true;
    if (request.query.empty()) return false;
    const Ref version = knowledge_.items.at(item_id, request.ts_ms);
    if (asks_text_ &&
        text::at_least(query_vector(request.query), knowledge_.items.title_vector(version), threshold_))
      return true;
    return asks_clicks_ && (knowledge_.statistics.was_clicked(request.query, item_id, event_day) ||
                            knowledge_.statistics.was_category_clicked(
                                request.query, knowledge_.items.category(version), event_day));
  }

 private:
  const text::NgramVector& query_vector(std::string_view query) {
    const auto [it, is_new] = query_vectors_.try_emplace(query);
    if (is_new) it->second = text::ngram_vector(query, knowledge_.hash_seed);
    return it->second;
  }

  const text::CosineThreshold threshold_;
  const Knowledge& knowledge_;
  bool asks_text_ = false;
  bool asks_clicks_ = false;
  std::unordered_map<std::string_view, text::NgramVector> query_vectors_;
};

// The drawn candidates of requests, looked up only where an option asks.
class DrawnCandidates {
 public:
  DrawnCandidates(const BucketLogs& logs, const Options& options, uint64_t hash_seed)
      : draw_(logs, options, hash_seed), logs_(logs) {}
  bool contains(int32_t request, int32_t candidate) {
    const auto [it, is_new] = drawn_.try_emplace(request);
    if (is_new) draw_.append(logs_.requests[static_cast<size_t>(request)], it->second);
    return std::binary_search(it->second.begin(), it->second.end(), candidate);
  }

 private:
  UnexposedDraw draw_;
  const BucketLogs& logs_;
  std::unordered_map<int32_t, std::vector<int32_t>> drawn_;
};

// What a sample's native labels are as of a time.
struct NativeState {
  bool is_clicked = false;  // with closure
  bool is_positive_for_action = false;
};
NativeState native_state(const NativeStage& native, const ItemPlaces::Place& place, Action action,
                         int64_t ts_ms) {
  NativeState state;
  for (const Credit& credit : credits_of(native, place.request)) {
    if (credit.candidate != place.candidate || credit.ts_ms > ts_ms) continue;
    state.is_clicked = true;
    if (action == Action::Click || credit.action == action) state.is_positive_for_action = true;
  }
  return state;
}

class Attributor {
 public:
  Attributor(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
             const NativeStage& native, const Knowledge& knowledge)
      : logs_(logs),
        options_(options),
        ranges_(ranges),
        native_(native),
        gate_(options, knowledge),
        drawn_(logs, options, knowledge.hash_seed),
        places_(logs) {
    stage_.fates.assign(logs.events.size(), Verdict::Native);
  }

  AttributionStage run() {
    for (int32_t user = 0; user < logs_.users.size(); ++user) attribute_user(user);
    std::sort(stage_.credits.begin(), stage_.credits.end(), [&](const Attribution& a, const Attribution& b) {
      const EventRow& left = logs_.events[static_cast<size_t>(a.event)];
      const EventRow& right = logs_.events[static_cast<size_t>(b.event)];
      return std::tie(a.request, a.candidate, left.ts_ms, left.event_id, a.event) <
             std::tie(b.request, b.candidate, right.ts_ms, right.event_id, b.event);
    });
    return std::move(stage_);
  }

 private:
  void attribute_user(int32_t user) {
    events_.clear();
    const auto [first, last] = logs_.events_of(user);
    for (size_t i = first; i < last; ++i) {
      const EventRow& event = logs_.events[i];
      if (event.action == Action::Other || !ranges_.attributed.contains(event.ts_ms)) continue;
      if (!event.in_search || is_orphan(native_.places[i].verdict)) events_.push_back(i);
    }
    const auto [first_request, last_request] = logs_.requests_of(user);
    if (events_.empty() || first_request == last_request) return;
    hashes_.clear();
    for (const size_t i : events_) hashes_.push_back(ItemPlaces::hash_of(logs_.events[i].item_id));
    std::sort(hashes_.begin(), hashes_.end());
    places_.build(
        user,
        {logs_.events[events_.front()].ts_ms - longest_window(options_).ms,
         logs_.events[events_.back()].ts_ms + 1},
        [](const RequestRow& request) { return request.in_search; },
        [](const RequestRow&, int32_t) { return true; },
        [&](uint64_t hash) { return std::binary_search(hashes_.begin(), hashes_.end(), hash); });
    credited_.clear();
    for (const size_t i : events_) stage_.fates[i] = attribute_event(i);
  }

  // Native: nothing in the lists answers, the event stays as it is.
  Verdict attribute_event(size_t index) {
    const EventRow& event = logs_.events[index];
    const int64_t window = window_of(options_, static_cast<schema::Task>(event.action)).ms;
    const base::Day day = base::day_of(event.ts_ms);
    const ItemPlaces::Place* best = nullptr;
    int best_level = 3;
    bool best_is_positive = false;
    bool some_is_positive = false;
    for (const ItemPlaces::Place& place : places_.find(event.item_id)) {
      const RequestRow& request = logs_.requests[static_cast<size_t>(place.request)];
      if (request.ts_ms > event.ts_ms || request.ts_ms < event.ts_ms - window) continue;
      const NativeState state = native_state(native_, place, event.action, event.ts_ms);
      some_is_positive = some_is_positive || state.is_positive_for_action;
      int level = place.is_unexposed ? 2 : state.is_clicked ? 0 : 1;
      if (event.action == Action::Click && level == 0) continue;
      if (level == 2 && !options_.attribute_undrawn && !drawn_.contains(place.request, place.candidate))
        continue;
      if (best != nullptr && (level > best_level || (level == best_level && !is_later(request, *best))))
        continue;
      if (!gate_.is_open(request, event.item_id, day)) continue;
      best = &place;
      best_level = level;
      best_is_positive = state.is_positive_for_action;
    }
    if (best == nullptr) return some_is_positive ? Verdict::AlreadyLabelled : Verdict::Native;
    if (best_is_positive) return Verdict::AlreadyLabelled;
    const std::tuple key(best->request, best->candidate, event.action);
    if (std::find(credited_.begin(), credited_.end(), key) != credited_.end())
      return Verdict::DuplicateCredit;
    credited_.push_back(key);
    constexpr std::array kSources = {schema::LabelSource::HlaClicked, schema::LabelSource::HlaExposed,
                                     schema::LabelSource::HlaUnexposed};
    stage_.credits.push_back({best->request, best->candidate, static_cast<int32_t>(index),
                              kSources[static_cast<size_t>(best_level)]});
    return Verdict::Attributed;
  }

  // The latest request, ties by smaller request_id.
  bool is_later(const RequestRow& request, const ItemPlaces::Place& best) const {
    const RequestRow& other = logs_.requests[static_cast<size_t>(best.request)];
    return request.ts_ms != other.ts_ms ? request.ts_ms > other.ts_ms : request.request_id < other.request_id;
  }

  const BucketLogs& logs_;
  const Options& options_;
  const DayRanges& ranges_;
  const NativeStage& native_;
  RelevanceGate gate_;
  DrawnCandidates drawn_;
  ItemPlaces places_;
  AttributionStage stage_;
  std::vector<size_t> events_;
  std::vector<uint64_t> hashes_;
  std::vector<std::tuple<int32_t, int32_t, Action>> credited_;  // of the user in hand
};

}  // namespace

AttributionStage attribute(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                           const NativeStage& native, const Knowledge& knowledge) {
  if (!options.attribution) return {{}, std::vector<Verdict>(logs.events.size(), Verdict::Native)};
  return Attributor(logs, options, ranges, native, knowledge).run();
}

double credit_weight(const Options& options, std::string_view domain, Action action, int64_t delay_ms) {
  double weight = 1.0;
  if (!options.confidence.empty()) {
    const auto it =
        options.confidence.find(fmt::format("{}/{}", domain, kActionNames[static_cast<size_t>(action)]));
    if (it != options.confidence.end()) weight = it->second;
  }
  if (options.half_life.ms > 0)
    weight *= std::exp2(-static_cast<double>(delay_ms) / static_cast<double>(options.half_life.ms));
  return weight;
}

void add_attributed(const BucketLogs& logs, const Options& options, const AttributionStage& stage,
                    Draft& draft) {
  if (stage.credits.empty()) return;
  ItemLists& unexposed = draft.items[static_cast<size_t>(schema::Origin::Unexposed)];
  ItemLists joined;
  std::vector<Label> labels;
  size_t native = 0;
  for (size_t row = 0; row < draft.rows.size(); ++row) {
    const int32_t index = draft.rows[row].request;
    const RequestRow& request = logs.requests[static_cast<size_t>(index)];
    const size_t first_label = labels.size();
    for (; native < draft.labels.size() && draft.labels[native].row == static_cast<int32_t>(row); ++native)
      labels.push_back(draft.labels[native]);
    const size_t last_native = labels.size();
    const size_t first_candidate = joined.candidates.size();
    joined.candidates.insert(joined.candidates.end(), unexposed.candidates.begin() + unexposed.offsets[row],
                             unexposed.candidates.begin() + unexposed.offsets[row + 1]);
    const size_t num_drawn = joined.candidates.size();
    auto it =
        std::lower_bound(stage.credits.begin(), stage.credits.end(), index,
                         [](const Attribution& credit, int32_t value) { return credit.request < value; });
    while (it != stage.credits.end() && it->request == index) {
      auto end = it;
      while (end != stage.credits.end() && end->request == index && end->candidate == it->candidate) ++end;
      const bool is_exposed = logs.is_exposed(request, it->candidate);
      const auto drawn_first = joined.candidates.begin() + static_cast<std::ptrdiff_t>(first_candidate);
      const auto drawn_last = joined.candidates.begin() + static_cast<std::ptrdiff_t>(num_drawn);
      if (!is_exposed && !std::binary_search(drawn_first, drawn_last, it->candidate))
        joined.candidates.push_back(it->candidate);
      for (int task = 0; task < schema::kNumTasks; ++task) {
        const bool is_native = std::any_of(
            labels.begin() + static_cast<std::ptrdiff_t>(first_label),
            labels.begin() + static_cast<std::ptrdiff_t>(last_native), [&](const Label& label) {
              return label.candidate == it->candidate && label.task == static_cast<schema::Task>(task);
            });
        if (is_native) continue;
        const auto credit = std::find_if(it, end, [&](const Attribution& one) {
          return implies(logs.events[static_cast<size_t>(one.event)].action, static_cast<schema::Task>(task));
        });
        if (credit == end) continue;
        const EventRow& event = logs.events[static_cast<size_t>(credit->event)];
        Label label;
        label.row = static_cast<int32_t>(row);
        label.candidate = credit->candidate;
        label.task = static_cast<schema::Task>(task);
        label.source = credit->source;
        label.origin = is_exposed ? schema::Origin::Exposed : schema::Origin::Unexposed;
        label.domain = logs.domains.id(event.domain);
        label.delay_ms = event.ts_ms - request.ts_ms;
        label.weight = static_cast<float>(credit_weight(options, label.domain, event.action, label.delay_ms));
        labels.push_back(label);
      }
      it = end;
    }
    draft.num_joined += static_cast<int64_t>(joined.candidates.size() - num_drawn);
    std::sort(joined.candidates.begin() + static_cast<std::ptrdiff_t>(first_candidate),
              joined.candidates.end());
    joined.offsets.push_back(static_cast<int64_t>(joined.candidates.size()));
    std::sort(labels.begin() + static_cast<std::ptrdiff_t>(first_label), labels.end(),
              [](const Label& a, const Label& b) {
                return std::tie(a.candidate, a.task) < std::tie(b.candidate, b.task);
              });
  }
  draft.labels = std::move(labels);
  unexposed = std::move(joined);
}

}  // namespace uniscale::es3
