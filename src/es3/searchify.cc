#include "es3/searchify.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"

namespace uniscale::es3 {
namespace {

using Shown = std::pair<int32_t, int32_t>;  // request, candidate

struct Query {
  schema::QueryTier tier = schema::QueryTier::None;
  std::string_view text;
  float score = 0;
};

// A positive with its query and negatives, ready to be put into a row.
struct Positive {
  Query query;
  size_t first_click = 0;  // [first, last) in the sorted clicks
  size_t last_click = 0;
  std::vector<int32_t> negatives;
};

class Searchifier {
 public:
  Searchifier(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
              const Knowledge& knowledge, CandidateItems& items, std::vector<CrossClick> clicks)
      : logs_(logs),
        options_(options),
        ranges_(ranges),
        knowledge_(knowledge),
        items_(items),
        clicks_(std::move(clicks)),
        similarity_(knowledge.items, options.negative_similarity),
        num_negatives_(negatives_per_positive(options, knowledge.statistics.click_rate())) {}

  CrossStage run(const NativeStage& native, const std::vector<StrayEvent>& strays, int bucket) {
    list_located(native, strays, bucket);
    std::sort(clicks_.begin(), clicks_.end(), [](const CrossClick& a, const CrossClick& b) {
      return std::tie(a.request, a.candidate, a.own_query, a.ts_ms, a.event_id) <
             std::tie(b.request, b.candidate, b.own_query, b.ts_ms, b.event_id);
    });
    for (size_t first = 0; first < clicks_.size();) {
      size_t last = first;
      while (last < clicks_.size() && clicks_[last].request == clicks_[first].request) ++last;
      searchify_request(first, last);
      first = last;
    }
    return finish();
  }

 private:
  void list_located(const NativeStage& native, const std::vector<StrayEvent>& strays, int bucket) {
    const auto add = [&](int32_t request, int32_t candidate) {
      const RequestRow& row = logs_.requests[static_cast<size_t>(request)];
      if (!row.in_search && ranges_.samples.contains(row.ts_ms)) located_.emplace_back(request, candidate);
    };
    for (const Place& place : native.places) {
      if (place.verdict == Verdict::Native && place.request >= 0) add(place.request, place.candidate);
    }
    const RequestIds ids(logs_, ranges_.samples);
    for (const StrayEvent& stray : strays) {
      if (stray.bucket == bucket && stray.verdict == Verdict::Native &&
          ranges_.samples.contains(stray.request_ts_ms))
        add(request_of(logs_, ids, stray), stray.candidate);
    }
    std::sort(located_.begin(), located_.end());
  }

  // The positives of one g: dropped, or put into rows by query.
  void searchify_request(size_t first, size_t last) {
    const RequestRow& g = logs_.requests[static_cast<size_t>(clicks_[first].request)];
    std::vector<Positive> positives;
    for (size_t begin = first; begin < last;) {
      size_t end = begin;
      // Clicks on one item differ only in the queries of their users.
      while (end < last && clicks_[end].candidate == clicks_[begin].candidate &&
             clicks_[end].own_query == clicks_[begin].own_query)
        ++end;
      ++stage_.counts.num_positives;
      Positive positive;
      positive.first_click = begin;
      positive.last_click = end;
      const Ref version = items_.at(g, clicks_[begin].candidate);
      find_negatives(g, clicks_[begin].request, version, positive.negatives);
      if (positive.negatives.empty()) {
        ++stage_.counts.no_negative;
        count_clicks(begin, end, Verdict::NoNegative);
      } else if (find_query(g, begin, version, positive.query)) {
        count_clicks(begin, end, Verdict::CrossPositive);
        positives.push_back(std::move(positive));
      } else {
        ++stage_.counts.no_query;
        count_clicks(begin, end, Verdict::NoQuery);
      }
      begin = end;
    }
    std::stable_sort(positives.begin(), positives.end(),
                     [](const Positive& a, const Positive& b) { return a.query.text < b.query.text; });
    for (size_t begin = 0; begin < positives.size();) {
      size_t end = begin;
      while (end < positives.size() && positives[end].query.text == positives[begin].query.text) ++end;
      add_row(g, std::span(positives).subspan(begin, end - begin));
      begin = end;
    }
  }

  void count_clicks(size_t begin, size_t end, Verdict verdict) {
    for (size_t i = begin; i < end; ++i) {
      if (!clicks_[i].was_used && ranges_.samples.contains(clicks_[i].ts_ms))
        stage_.events.add(verdict, Action::Click);
    }
  }

  // Shown items of g that no event of g touched, the most similar first.
  void find_negatives(const RequestRow& g, int32_t request, Ref positive, std::vector<int32_t>& negatives) {
    similar_.clear();
    similarity_.set_positive(positive);
    for (int32_t c = 0; c < g.num_candidates(); ++c) {
      if (!logs_.is_exposed(g, c) || std::binary_search(located_.begin(), located_.end(), Shown(request, c)))
        continue;
      const ItemSimilarity::Score score = similarity_.of(items_.at(g, c));
      if (score.reaches) similar_.push_back({score.order, logs_.item_id(g, c), c});
    }
    const size_t count = std::min(similar_.size(), static_cast<size_t>(num_negatives_));
    std::partial_sort(similar_.begin(), similar_.begin() + static_cast<std::ptrdiff_t>(count), similar_.end(),
                      [](const Similar& a, const Similar& b) {
                        return a.order != b.order ? a.order > b.order : a.item_id < b.item_id;
                      });
    for (size_t i = 0; i < count; ++i) negatives.push_back(similar_[i].candidate);
  }

  // The first tier that answers. The other tiers are asked too, for the report.
  bool find_query(const RequestRow& g, size_t begin, Ref version, Query& query) {
    const std::string_view item_id = logs_.item_id(g, clicks_[begin].candidate);
    std::array<Query, kNumTiers> answers;
    if (clicks_[begin].own_query) answers[0] = {schema::QueryTier::Own, *clicks_[begin].own_query, 1.0F};
    if (const auto co = knowledge_.statistics.co_query(item_id))
      answers[1] = {schema::QueryTier::Co, co->query, static_cast<float>(co->num_users)};
    if (const auto ann = nearest_query(version)) {
      answers[2] = {schema::QueryTier::Ann,
                    knowledge_.statistics.query_bank()[static_cast<size_t>(ann->query)],
                    static_cast<float>(ann->similarity)};
    }
    const Query* chosen = nullptr;
    for (size_t tier = 0; tier < answers.size(); ++tier) {
      if (answers[tier].tier == schema::QueryTier::None) continue;
      ++stage_.counts.covered[tier];
      if (answers[0].tier != schema::QueryTier::None) {
        ++stage_.counts.beside_own[tier];
        stage_.counts.same_as_own[tier] += answers[tier].text == answers[0].text;
      }
      if (chosen == nullptr) chosen = &answers[tier];
    }
    if (chosen == nullptr) return false;
    query = *chosen;
    ++stage_.counts.by_tier[static_cast<size_t>(query.tier) - 1];
    if (query.tier == schema::QueryTier::Ann) {
      const int bin = std::clamp(static_cast<int>(query.score * kSimilarityBins), 0, kSimilarityBins - 1);
      ++stage_.counts.ann_similarity[static_cast<size_t>(bin)];
    }
    return true;
  }

  std::optional<QueryIndex::Found> nearest_query(Ref version) {
    if (version.source < 0) return std::nullopt;
    const auto key = static_cast<int64_t>(version.source) << 32 | version.row;
    const auto [it, is_new] = nearest_.try_emplace(key);
    if (is_new) {
      it->second = knowledge_.queries.nearest(knowledge_.items.title_vector(version),
                                              knowledge_.items.embedding(version), scratch_);
    }
    return it->second;
  }

  float tier_weight(schema::QueryTier tier) const {
    return static_cast<float>(options_.tier_weights[static_cast<size_t>(tier) - 1]);
  }

  // One pseudo-request: all positives of g with one query.
  void add_row(const RequestRow& g, std::span<const Positive> positives) {
    DraftRow row;
    row.request = clicks_[positives.front().first_click].request;
    row.tier = schema::QueryTier::Ann;
    for (const Positive& positive : positives) row.tier = std::min(row.tier, positive.query.tier);
    for (const Positive& positive : positives) {
      if (positive.query.tier == row.tier) row.query_score = std::max(row.query_score, positive.query.score);
    }
    row.query = positives.front().query.text;
    row.zero_weight = tier_weight(row.tier);
    stage_.draft.texts.push_back(
        fmt::format("x:{}:{}:{}", logs_.domain_of(g), g.request_id,
                    base::hex64(base::stable_hash(knowledge_.hash_seed, row.query))));
    row.request_id = stage_.draft.texts.back();
    // The query may belong to a click, which goes away.
    stage_.draft.texts.emplace_back(row.query);
    row.query = stage_.draft.texts.back();
    rows_.push_back({row, {}, {}, {}});
    Row& made = rows_.back();
    for (const Positive& positive : positives) {
      made.positives.push_back(clicks_[positive.first_click].candidate);
      made.negatives.insert(made.negatives.end(), positive.negatives.begin(), positive.negatives.end());
      // Another user's click on the same item may have come to the same query.
      const bool is_told = std::any_of(&positives.front(), &positive, [&](const Positive& other) {
        return clicks_[other.first_click].candidate == clicks_[positive.first_click].candidate;
      });
      if (!is_told) add_labels(g, positives, made.positives.back(), made.labels);
    }
    std::sort(made.positives.begin(), made.positives.end());
    made.positives.erase(std::unique(made.positives.begin(), made.positives.end()), made.positives.end());
    std::sort(made.negatives.begin(), made.negatives.end());
    made.negatives.erase(std::unique(made.negatives.begin(), made.negatives.end()), made.negatives.end());
    stage_.counts.num_negatives += static_cast<int64_t>(made.negatives.size());
    ++stage_.counts.num_rows;
  }

  // The labels of one candidate: the earliest of the row's clicks on it, and of the carts and purchases that
  // label them, each with the weight of its own click's tier.
  void add_labels(const RequestRow& g, std::span<const Positive> positives, int32_t candidate,
                  std::vector<Label>& labels) {
    struct First {
      int64_t ts_ms = 0;
      const std::string* event_id = nullptr;
      const std::string* domain = nullptr;
      schema::QueryTier tier = schema::QueryTier::None;
    };
    std::array<First, schema::kNumTasks> firsts;
    const auto offer = [](First& first, const First& other) {
      if (first.event_id == nullptr ||
          std::tie(other.ts_ms, *other.event_id) < std::tie(first.ts_ms, *first.event_id))
        first = other;
    };
    for (const Positive& positive : positives) {
      if (clicks_[positive.first_click].candidate != candidate) continue;
      for (size_t c = positive.first_click; c < positive.last_click; ++c) {
        const CrossClick& click = clicks_[c];
        offer(firsts[0], {click.ts_ms, &click.event_id, &click.domain, positive.query.tier});
        for (size_t i = 0; i < click.labels.size(); ++i) {
          if (const auto& label = click.labels[i])
            offer(firsts[i + 1], {label->ts_ms, &label->event_id, &label->domain, positive.query.tier});
        }
      }
    }
    for (size_t task = 0; task < firsts.size(); ++task) {
      const First& first = firsts[task];
      if (first.event_id == nullptr) continue;
      Label label;
      label.candidate = candidate;
      label.task = static_cast<schema::Task>(task);
      label.source = schema::LabelSource::Cross;
      label.origin = schema::Origin::CrossPositive;
      stage_.draft.texts.push_back(*first.domain);
      label.domain = stage_.draft.texts.back();
      label.delay_ms = first.ts_ms - g.ts_ms;
      // Rounded once.
      label.weight = static_cast<float>(
          credit_weight(options_, label.domain, static_cast<Action>(task), label.delay_ms) *
          options_.tier_weights[static_cast<size_t>(first.tier) - 1]);
      labels.push_back(label);
    }
  }

  CrossStage finish() {
    std::sort(rows_.begin(), rows_.end(),
              [&](const Row& a, const Row& b) { return row_less(logs_, a.row, b.row); });
    Draft& draft = stage_.draft;
    for (const Row& made : rows_) {
      const auto number = static_cast<int32_t>(draft.rows.size());
      draft.rows.push_back(made.row);
      const std::array<const std::vector<int32_t>*, 4> lists = {nullptr, nullptr, &made.positives,
                                                                &made.negatives};
      for (size_t origin = 0; origin < lists.size(); ++origin) {
        ItemLists& items = draft.items[origin];
        if (lists[origin] != nullptr)
          items.candidates.insert(items.candidates.end(), lists[origin]->begin(), lists[origin]->end());
        items.offsets.push_back(static_cast<int64_t>(items.candidates.size()));
      }
      for (Label label : made.labels) {
        label.row = number;
        draft.labels.push_back(label);
      }
    }
    std::sort(draft.labels.begin(), draft.labels.end(), [](const Label& a, const Label& b) {
      return std::tie(a.row, a.candidate, a.task) < std::tie(b.row, b.candidate, b.task);
    });
    return std::move(stage_);
  }

  struct Similar {
    double order;
    std::string_view item_id;
    int32_t candidate;
  };
  struct Row {
    DraftRow row;
    std::vector<int32_t> positives;
    std::vector<int32_t> negatives;
    std::vector<Label> labels;
  };

  const BucketLogs& logs_;
  const Options& options_;
  const DayRanges& ranges_;
  const Knowledge& knowledge_;
  CandidateItems& items_;
  std::vector<CrossClick> clicks_;
  ItemSimilarity similarity_;
  const int64_t num_negatives_;
  std::vector<Shown> located_;  // of requests of the day, sorted
  std::vector<Similar> similar_;
  std::unordered_map<int64_t, std::optional<QueryIndex::Found>> nearest_;  // by item version
  QueryIndex::Scratch scratch_;
  std::vector<Row> rows_;
  CrossStage stage_;
};

}  // namespace

void CrossCounts::merge(const CrossCounts& other) {
  num_positives += other.num_positives;
  no_negative += other.no_negative;
  no_query += other.no_query;
  for (size_t tier = 0; tier < kNumTiers; ++tier) {
    by_tier[tier] += other.by_tier[tier];
    covered[tier] += other.covered[tier];
    beside_own[tier] += other.beside_own[tier];
    same_as_own[tier] += other.same_as_own[tier];
  }
  for (size_t bin = 0; bin < kSimilarityBins; ++bin) ann_similarity[bin] += other.ann_similarity[bin];
  num_negatives += other.num_negatives;
  num_rows += other.num_rows;
}

int64_t negatives_per_positive(const Options& options, const std::optional<ClickRate>& rate) {
  constexpr int64_t kUnknown = 10, kMost = 20;
  if (options.negatives_per_positive > 0) return options.negatives_per_positive;
  if (!rate || rate->num_exposed == 0) return kUnknown;
  if (rate->num_clicked == 0) return kMost;
  // (1 − p0)/p0 as one division: 1 − 2/5 over 2/5 would fall short of 1.5.
  const auto num_unclicked = static_cast<double>(rate->num_exposed - rate->num_clicked);
  return std::clamp<int64_t>(round_half_up(num_unclicked / static_cast<double>(rate->num_clicked)), 1, kMost);
}

CrossStage searchify(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                     const NativeStage& native, const std::vector<StrayEvent>& strays, int bucket,
                     std::vector<CrossClick> clicks, const Knowledge& knowledge, CandidateItems& items) {
  if (clicks.empty()) return {};
  return Searchifier(logs, options, ranges, knowledge, items, std::move(clicks)).run(native, strays, bucket);
}

}  // namespace uniscale::es3
