// The slow twin of es3.md §4: clicks of other domains become search-like requests.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "es3/detail/reference_steps.h"

namespace uniscale::es3 {
namespace {

struct Located {
  const PlainEvent* event;
  const PlainRequest* request;
};

// Every click, cart and purchase of a cross domain that has a request of its own, used up or not.
std::vector<Located> located_events(const TwinInputs& in) {
  std::vector<Located> located;
  for (const PlainEvent& event : in.logs.events) {
    if (event.domain == in.schema.search_domain || !is_label_action(event.action)) continue;
    const EventPath path = follow_in_domain(in.logs, event.domain, in.options, event);
    if (path.verdict == Verdict::Native) located.push_back({&event, path.request});
  }
  return located;
}

struct Similarity {
  double value = 0;
  bool passes = false;  // value ≥ negative_similarity, by the exact comparison
  // Of title vectors; the norm of the positive is common to all.
  bool is_of_titles = false;
  int64_t dot = 0;
  int64_t squared_norm = 0;
};

bool is_more_similar(const Similarity& a, const Similarity& b) {
  if (a.is_of_titles && b.is_of_titles)
    return is_greater_cosine(a.dot, a.squared_norm, b.dot, b.squared_norm);
  return a.value > b.value;
}

Similarity embedding_similarity(const std::vector<float>& a, const std::vector<float>& b, double threshold) {
  double product = 0;
  double a_norm = 0;
  double b_norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    a_norm += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    b_norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  if (a_norm == 0 || b_norm == 0) return {.value = 0, .passes = threshold <= 0};
  return {product / std::sqrt(a_norm * b_norm),
          product >= 0 && product * product >= threshold * threshold * a_norm * b_norm, false, 0, 0};
}

// "Similarity per pair: cosine of embeddings if both have one, else of title vectors if both have a title,
// else same category (1/0)."
Similarity similarity(const TwinInputs& in, const PlainItem* a, const PlainItem* b) {
  const double threshold = in.options.negative_similarity;
  // Similarity 0, which a threshold of 0 lets in.
  const Similarity none{.value = 0, .passes = threshold <= 0};
  if (!a || !b) return none;
  if (!a->embedding.empty() && a->embedding.size() == b->embedding.size())
    return embedding_similarity(a->embedding, b->embedding, threshold);
  if (a->title && b->title) {
    const text::NgramVector& a_vector = in.vectors.of(*a->title);
    const text::NgramVector& b_vector = in.vectors.of(*b->title);
    if (a_vector.squared_norm == 0 || b_vector.squared_norm == 0) return none;
    return {text::cosine(a_vector, b_vector), text::at_least(a_vector, b_vector, threshold), true,
            text::dot(a_vector, b_vector), b_vector.squared_norm};
  }
  if (a->category && a->category == b->category) return {.value = 1, .passes = true};
  return none;
}

void find_negatives(const TwinInputs& in, const std::vector<Located>& located, PlainCross& click) {
  struct Similar {
    const PlainCandidate* candidate;
    Similarity similarity;
  };
  const PlainRequest& request = *click.request;
  const PlainItem* positive = item_at_time(in.logs, click.event->item_id, request.ts_ms);
  std::vector<Similar> similar;
  for (const PlainCandidate& candidate : request.candidates) {
    if (!candidate.position) continue;
    bool has_event = false;
    for (const Located& one : located) {
      if (one.request == &request && one.event->item_id == candidate.item_id) has_event = true;
    }
    if (has_event) continue;
    const Similarity found =
        similarity(in, positive, item_at_time(in.logs, candidate.item_id, request.ts_ms));
    if (found.passes) similar.push_back({&candidate, found});
  }
  std::sort(similar.begin(), similar.end(), [](const Similar& a, const Similar& b) {
    if (is_more_similar(a.similarity, b.similarity)) return true;
    if (is_more_similar(b.similarity, a.similarity)) return false;
    return a.candidate->item_id < b.candidate->item_id;
  });
  int64_t most = in.options.negatives_per_positive;
  if (most == 0) most = in.past.auto_negatives(base::day_of(request.ts_ms));
  for (const Similar& one : similar) {
    if (static_cast<int64_t>(click.negatives.size()) < most) click.negatives.push_back(one.candidate);
  }
}

// An unused cart or purchase labels the latest located click of its user and item that is not later than it.
PlainCross* click_to_label(std::vector<PlainCross>& clicks, const Options& options, const PlainEvent& event) {
  PlainCross* latest = nullptr;
  for (PlainCross& click : clicks) {
    if (!event.user_id || click.event->user_id != event.user_id || click.event->item_id != event.item_id)
      continue;
    if (click.event->ts_ms > event.ts_ms ||
        event.ts_ms > click.request->ts_ms + action_window_ms(options, event.action))
      continue;
    if (!latest || click.event->ts_ms > latest->event->ts_ms ||
        (click.event->ts_ms == latest->event->ts_ms && click.event->event_id < latest->event->event_id))
      latest = &click;
  }
  return latest;
}

double weight_of_tier(const Options& options, schema::QueryTier tier) {
  return options.tier_weights.at(static_cast<size_t>(tier) - 1);
}

PlainLabel cross_label(const Options& options, const PlainCross& click, const PlainEvent& event) {
  PlainLabel label;
  label.value = true;
  label.source = static_cast<int8_t>(schema::LabelSource::Cross);
  label.domain = event.domain;
  label.delay_ms = event.ts_ms - click.request->ts_ms;
  label.weight = static_cast<float>(credit_weight(options, event, *label.delay_ms) *
                                    weight_of_tier(options, click.tier));
  return label;
}

// The positive that the clicks of one pseudo-request on one item make; the earliest click gives provenance.
// Labels weigh by their own click's tier, a label of 0 by the tier of the row.
PlainSampleItem positive_item(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                              const std::vector<const PlainCross*>& clicks, schema::QueryTier row_tier) {
  const PlainCross* first = clicks.front();
  for (const PlainCross* click : clicks) {
    if (is_earlier(*click->event, *first->event)) first = click;
  }
  const PlainCandidate& candidate = *candidate_of(*first->request, first->event->item_id);
  PlainSampleItem item =
      plain_sample_item(logs, schema, *first->request, candidate, schema::Origin::CrossPositive);
  for (PlainLabel& label : item.labels) label.weight = static_cast<float>(weight_of_tier(options, row_tier));
  item.labels[0] = cross_label(options, *first, *first->event);
  const std::pair<size_t, std::string> others[] = {{1, "cart"}, {2, "purchase"}};
  for (const auto& [task, action] : others) {
    const PlainEvent* earliest = nullptr;
    for (const PlainCross* click : clicks) {
      for (const PlainEvent* event : click->labels) {
        if (event->action != action || (earliest && !is_earlier(*event, *earliest))) continue;
        earliest = event;
        item.labels[task] = cross_label(options, *click, *event);
      }
    }
  }
  return item;
}

PlainSample cross_sample(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                         const std::vector<const PlainCross*>& clicks) {
  const PlainRequest& request = *clicks.front()->request;
  PlainSample sample;
  sample.request_id = cross_request_id(request, clicks.front()->query, schema.hash_seed);
  sample.domain = request.domain;
  sample.user_id = request.user_id;
  sample.ts_ms = request.ts_ms;
  sample.query = clicks.front()->query;
  sample.context = request.context;
  // The best tier is named, with the best score that it gave.
  const PlainCross* best = clicks.front();
  for (const PlainCross* click : clicks) {
    if (click->tier < best->tier || (click->tier == best->tier && click->score > best->score)) best = click;
  }
  sample.query_tier = static_cast<int8_t>(best->tier);
  sample.query_score = static_cast<float>(best->score);
  for (const PlainCandidate& candidate : request.candidates) {
    std::vector<const PlainCross*> on_item;
    bool is_negative = false;
    for (const PlainCross* click : clicks) {
      if (click->event->item_id == candidate.item_id) on_item.push_back(click);
      for (const PlainCandidate* negative : click->negatives) {
        if (negative == &candidate) is_negative = true;
      }
    }
    if (!on_item.empty()) {
      sample.items.push_back(positive_item(logs, schema, options, on_item, best->tier));
    } else if (is_negative) {
      PlainSampleItem item =
          plain_sample_item(logs, schema, request, candidate, schema::Origin::CrossNegative);
      for (PlainLabel& label : item.labels)
        label.weight = static_cast<float>(weight_of_tier(options, best->tier));
      sample.items.push_back(std::move(item));
    }
  }
  return sample;
}

}  // namespace

std::string cross_request_id(const PlainRequest& request, const std::string& query, uint64_t hash_seed) {
  return "x:" + request.domain + ":" + request.request_id + ":" +
         base::hex64(base::stable_hash(hash_seed, query));
}

std::vector<PlainCross> searchify_events(const TwinInputs& inputs, std::vector<EventFate>& fates) {
  std::vector<PlainCross> clicks;
  if (!inputs.options.searchify) return clicks;
  const std::vector<Located> located = located_events(inputs);
  std::map<const PlainEvent*, EventFate*> fate_of;
  const auto set_fate = [&](const PlainEvent* event, Verdict value) {
    EventFate& fate = *fate_of.at(event);
    // A click that §3 used up keeps that as its fate.
    if (is_used(fate.fate)) {
      fate.reused = value;
    } else {
      fate.fate = value;
    }
  };
  for (EventFate& fate : fates) {
    fate_of[fate.event] = &fate;
    if (fate.event->action != "click" || fate.path.verdict != Verdict::CrossDomain) continue;
    if (is_used(fate.fate) && !inputs.options.reuse_attributed) continue;
    const PlainRequest* own = nullptr;
    for (const Located& one : located) {
      if (one.event == fate.event) own = one.request;
    }
    if (!own) {
      set_fate(fate.event, Verdict::NoRequest);
      continue;
    }
    if (!is_used(fate.fate)) fate.request = own;
    clicks.push_back({.event = fate.event, .request = own, .labels = {}, .negatives = {}, .query = {}});
  }
  for (EventFate& fate : fates) {
    if (is_used(fate.fate) || (fate.event->action != "cart" && fate.event->action != "purchase")) continue;
    if (PlainCross* click = click_to_label(clicks, inputs.options, *fate.event)) {
      click->labels.push_back(fate.event);
      fate.request = click->request;
      fate.fate = Verdict::CrossLabel;
    }
  }
  // One label per click and action: the earliest event gives it.
  for (PlainCross& click : clicks) {
    for (const PlainEvent* event : click.labels) {
      for (const PlainEvent* other : click.labels) {
        if (other->action == event->action && is_earlier(*other, *event))
          fate_of.at(event)->fate = Verdict::DuplicateCredit;
      }
    }
  }
  std::vector<PlainCross> kept;
  for (PlainCross& click : clicks) {
    find_negatives(inputs, located, click);
    Verdict fate = Verdict::CrossPositive;
    if (click.negatives.empty()) {
      fate = Verdict::NoNegative;
    } else if (!find_query(inputs, click)) {
      fate = Verdict::NoQuery;
    }
    set_fate(click.event, fate);
    if (fate == Verdict::CrossPositive) kept.push_back(std::move(click));
  }
  return kept;
}

std::vector<CrossRow> cross_rows(const PlainLogs& logs, const schema::LogSchema& schema,
                                 const Options& options, const std::vector<PlainCross>& clicks) {
  std::vector<CrossRow> rows;
  for (size_t i = 0; i < clicks.size(); ++i) {
    // Clicks of one request that choose the same query share a row; the first of them makes it.
    std::vector<const PlainCross*> shared;
    bool is_first = true;
    for (size_t j = 0; j < clicks.size(); ++j) {
      if (clicks[j].request != clicks[i].request || clicks[j].query != clicks[i].query) continue;
      if (j < i) is_first = false;
      shared.push_back(&clicks[j]);
    }
    if (is_first) rows.push_back({cross_sample(logs, schema, options, shared), clicks[i].request});
  }
  return rows;
}

}  // namespace uniscale::es3
