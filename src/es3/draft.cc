#include "es3/draft.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace uniscale::es3 {
namespace {

// The labels of one candidate of one row; `first` … `last` are its credits by (ts_ms, event_id): the earliest
// gives the provenance.
void add_labels(const Credit* first, const Credit* last, int32_t row, int64_t request_ts_ms,
                std::string_view search_domain, std::vector<Label>& labels) {
  for (int task = 0; task < schema::kNumTasks; ++task) {
    const Credit* credit = std::find_if(
        first, last, [&](const Credit& c) { return implies(c.action, static_cast<schema::Task>(task)); });
    if (credit == last) continue;
    Label label;
    label.row = row;
    label.candidate = credit->candidate;
    label.task = static_cast<schema::Task>(task);
    label.domain = search_domain;
    label.delay_ms = credit->ts_ms - request_ts_ms;
    labels.push_back(label);
  }
}

}  // namespace

bool row_less(const BucketLogs& logs, const DraftRow& a, const DraftRow& b) {
  const RequestRow& left = logs.requests[static_cast<size_t>(a.request)];
  const RequestRow& right = logs.requests[static_cast<size_t>(b.request)];
  if (left.ts_ms != right.ts_ms) return left.ts_ms < right.ts_ms;
  if (a.request_id != b.request_id) return a.request_id < b.request_id;
  return logs.user_id(left.user) < logs.user_id(right.user);
}

Draft expose(const BucketLogs& logs, const DayRanges& ranges, std::string_view search_domain,
             const NativeStage& native) {
  Draft draft;
  for (size_t i = 0; i < logs.requests.size(); ++i) {
    const RequestRow& request = logs.requests[i];
    if (!request.in_search || !ranges.samples.contains(request.ts_ms)) continue;
    draft.rows.push_back(
        {.request = static_cast<int32_t>(i), .request_id = request.request_id, .query = request.query});
  }
  std::sort(draft.rows.begin(), draft.rows.end(),
            [&](const DraftRow& a, const DraftRow& b) { return row_less(logs, a, b); });

  ItemLists& exposed = draft.items[static_cast<size_t>(schema::Origin::Exposed)];
  for (size_t row = 0; row < draft.rows.size(); ++row) {
    const int32_t index = draft.rows[row].request;
    const RequestRow& request = logs.requests[static_cast<size_t>(index)];
    for (int32_t c = 0; c < request.end - request.begin; ++c) {
      if (logs.is_exposed(request, c)) exposed.candidates.push_back(c);
    }
    exposed.offsets.push_back(static_cast<int64_t>(exposed.candidates.size()));

    const std::span<const Credit> credits = credits_of(native, index);
    for (auto it = credits.begin(); it != credits.end();) {
      auto end = it;
      while (end != credits.end() && end->candidate == it->candidate) ++end;
      add_labels(&*it, &*it + (end - it), static_cast<int32_t>(row), request.ts_ms, search_domain,
                 draft.labels);
      it = end;
    }
  }
  return draft;
}

void UnexposedDraw::append(const RequestRow& request, std::vector<int32_t>& drawn) {
  int64_t num_unexposed = 0;
  for (int32_t c = 0; c < request.num_candidates(); ++c) num_unexposed += !logs_.is_exposed(request, c);
  const int64_t num_drawn = num_to_draw(options_, request.num_candidates() - num_unexposed, num_unexposed);
  if (num_drawn == 0) return;
  if (num_drawn == num_unexposed) {
    for (int32_t c = 0; c < request.num_candidates(); ++c) {
      if (!logs_.is_exposed(request, c)) drawn.push_back(c);
    }
    return;
  }
  const RequestTable& source = logs_.request_tables[static_cast<size_t>(request.table)];
  const table::Column* score = source.candidate->find_child("score");
  const int64_t num_hard = round_half_up(options_.hard_share * static_cast<double>(num_drawn));
  pool_.clear();
  for (int32_t c = 0; c < request.num_candidates(); ++c) {
    if (logs_.is_exposed(request, c)) continue;
    Drawable drawable{base::stable_hash(hash_seed_, request.request_id, logs_.item_id(request, c)), c, 0,
                      false};
    if (num_hard > 0 && score->is_valid(request.begin + c)) {
      drawable.score = score->floats()[static_cast<size_t>(request.begin + c)];
      drawable.has_score = drawable.score == drawable.score;  // NaN is no score
    }
    pool_.push_back(drawable);
  }
  const auto item_less = [&](const Drawable& a, const Drawable& b) {
    return logs_.item_id(request, a.candidate) < logs_.item_id(request, b.candidate);
  };
  const auto by_score = [&](const Drawable& a, const Drawable& b) {
    if (a.has_score != b.has_score) return a.has_score;
    if (a.has_score && a.score != b.score) return a.score > b.score;
    return item_less(a, b);
  };
  const auto by_hash = [&](const Drawable& a, const Drawable& b) {
    return a.hash != b.hash ? a.hash < b.hash : item_less(a, b);
  };
  const auto hard_end = pool_.begin() + num_hard;
  const auto drawn_end = pool_.begin() + num_drawn;
  if (num_hard > 0) std::nth_element(pool_.begin(), hard_end, pool_.end(), by_score);
  std::nth_element(hard_end, drawn_end, pool_.end(), by_hash);
  for (auto it = pool_.begin(); it != drawn_end; ++it) drawn.push_back(it->candidate);
  std::sort(drawn.end() - num_drawn, drawn.end());
}

void add_unexposed(const BucketLogs& logs, const Options& options, uint64_t hash_seed, Draft& draft) {
  ItemLists& unexposed = draft.items[static_cast<size_t>(schema::Origin::Unexposed)];
  UnexposedDraw draw(logs, options, hash_seed);
  for (const DraftRow& row : draft.rows) {
    draw.append(logs.requests[static_cast<size_t>(row.request)], unexposed.candidates);
    unexposed.offsets.push_back(static_cast<int64_t>(unexposed.candidates.size()));
  }
}

int64_t round_half_up(double value) { return static_cast<int64_t>(std::floor(value + 0.5)); }

int64_t num_to_draw(const Options& options, int64_t num_exposed, int64_t num_unexposed) {
  if (num_exposed == 0) return std::min(num_unexposed, options.unexposed_if_empty);
  const int64_t wanted = round_half_up(options.unexposed_ratio * static_cast<double>(num_exposed));
  return std::min({num_unexposed, wanted, options.unexposed_cap});
}

bool implies(Action action, schema::Task task) {
  return task == schema::Task::Click || static_cast<int8_t>(action) == static_cast<int8_t>(task);
}

Draft merge(const BucketLogs& logs, Draft search, Draft cross) {
  if (cross.rows.empty()) {
    for (size_t origin = 2; origin < 4; ++origin)
      search.items[origin].offsets.assign(search.rows.size() + 1, 0);
    return search;
  }
  Draft merged;
  merged.num_joined = search.num_joined;
  merged.texts = std::move(cross.texts);
  const auto take = [&](const Draft& from, size_t row, size_t& label) {
    const auto number = static_cast<int32_t>(merged.rows.size());
    merged.rows.push_back(from.rows[row]);
    for (size_t origin = 0; origin < merged.items.size(); ++origin) {
      const ItemLists& source = from.items[origin];
      ItemLists& target = merged.items[origin];
      if (source.offsets.size() > row + 1) {
        target.candidates.insert(target.candidates.end(), source.candidates.begin() + source.offsets[row],
                                 source.candidates.begin() + source.offsets[row + 1]);
      }
      target.offsets.push_back(static_cast<int64_t>(target.candidates.size()));
    }
    for (; label < from.labels.size() && from.labels[label].row == static_cast<int32_t>(row); ++label) {
      merged.labels.push_back(from.labels[label]);
      merged.labels.back().row = number;
    }
  };
  size_t s = 0, c = 0, search_label = 0, cross_label = 0;
  while (s < search.rows.size() || c < cross.rows.size()) {
    const bool cross_first =
        s == search.rows.size() || (c < cross.rows.size() && row_less(logs, cross.rows[c], search.rows[s]));
    cross_first ? take(cross, c++, cross_label) : take(search, s++, search_label);
  }
  return merged;
}

}  // namespace uniscale::es3
