#include "es3/draft.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace uniscale::es3 {
namespace {

// Closure: purchase ⇒ click, cart ⇒ click.
bool implies(Action action, schema::Task task) {
  return task == schema::Task::Click || static_cast<int8_t>(action) == static_cast<int8_t>(task);
}

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

Draft expose(const BucketLogs& logs, const DayRanges& ranges, std::string_view search_domain,
             const NativeStage& native) {
  Draft draft;
  for (size_t i = 0; i < logs.requests.size(); ++i) {
    if (ranges.samples.contains(logs.requests[i].ts_ms)) draft.requests.push_back(static_cast<int32_t>(i));
  }
  std::sort(draft.requests.begin(), draft.requests.end(), [&](int32_t a, int32_t b) {
    const RequestRow& left = logs.requests[static_cast<size_t>(a)];
    const RequestRow& right = logs.requests[static_cast<size_t>(b)];
    if (left.ts_ms != right.ts_ms) return left.ts_ms < right.ts_ms;
    if (left.request_id != right.request_id) return left.request_id < right.request_id;
    return logs.user_id(left.user) < logs.user_id(right.user);
  });

  ItemLists& exposed = draft.items[static_cast<size_t>(schema::Origin::Exposed)];
  for (size_t row = 0; row < draft.requests.size(); ++row) {
    const int32_t index = draft.requests[row];
    const RequestRow& request = logs.requests[static_cast<size_t>(index)];
    for (int32_t c = 0; c < request.end - request.begin; ++c) {
      if (logs.is_exposed(request, c)) exposed.candidates.push_back(c);
    }
    exposed.offsets.push_back(static_cast<int64_t>(exposed.candidates.size()));

    const auto begin =
        std::lower_bound(native.credits.begin(), native.credits.end(), index,
                         [](const Credit& credit, int32_t value) { return credit.request < value; });
    for (auto it = begin; it != native.credits.end() && it->request == index;) {
      auto end = it;
      while (end != native.credits.end() && end->request == index && end->candidate == it->candidate) ++end;
      add_labels(&*it, &*it + (end - it), static_cast<int32_t>(row), request.ts_ms, search_domain,
                 draft.labels);
      it = end;
    }
  }
  return draft;
}

void add_unexposed(const BucketLogs& logs, const Options& options, uint64_t hash_seed, Draft& draft) {
  struct Drawable {
    uint64_t hash;
    int32_t candidate;
    float score;
    bool has_score;
  };
  const ItemLists& exposed = draft.items[static_cast<size_t>(schema::Origin::Exposed)];
  ItemLists& unexposed = draft.items[static_cast<size_t>(schema::Origin::Unexposed)];
  std::vector<Drawable> pool;
  for (size_t row = 0; row < draft.requests.size(); ++row) {
    const RequestRow& request = logs.requests[static_cast<size_t>(draft.requests[row])];
    const int64_t num_exposed = exposed.count(row);
    const int64_t num_unexposed = (request.end - request.begin) - num_exposed;
    const int64_t num_drawn = num_to_draw(options, num_exposed, num_unexposed);
    if (num_drawn > 0) {
      const RequestTable& source = logs.request_tables[static_cast<size_t>(request.table)];
      const table::Column* score = source.candidate->find_child("score");
      const int64_t num_hard = round_half_up(options.hard_share * static_cast<double>(num_drawn));
      pool.clear();
      for (int32_t c = 0; c < request.end - request.begin; ++c) {
        if (logs.is_exposed(request, c)) continue;
        Drawable drawable{base::stable_hash(hash_seed, request.request_id, logs.item_id(request, c)), c, 0,
                          false};
        if (num_hard > 0 && score->is_valid(request.begin + c)) {
          drawable.score = score->floats()[static_cast<size_t>(request.begin + c)];
          drawable.has_score = drawable.score == drawable.score;  // NaN is no score
        }
        pool.push_back(drawable);
      }
      const auto item_less = [&](const Drawable& a, const Drawable& b) {
        return logs.item_id(request, a.candidate) < logs.item_id(request, b.candidate);
      };
      const auto by_score = [&](const Drawable& a, const Drawable& b) {
        if (a.has_score != b.has_score) return a.has_score;
        if (a.has_score && a.score != b.score) return a.score > b.score;
        return item_less(a, b);
      };
      const auto by_hash = [&](const Drawable& a, const Drawable& b) {
        return a.hash != b.hash ? a.hash < b.hash : item_less(a, b);
      };
      const auto hard_end = pool.begin() + num_hard;
      const auto drawn_end = pool.begin() + num_drawn;
      if (num_hard > 0 && hard_end != pool.end())
        std::nth_element(pool.begin(), hard_end, pool.end(), by_score);
      if (drawn_end != pool.end()) std::nth_element(hard_end, drawn_end, pool.end(), by_hash);
      for (auto it = pool.begin(); it != drawn_end; ++it) unexposed.candidates.push_back(it->candidate);
      std::sort(unexposed.candidates.end() - num_drawn, unexposed.candidates.end());
    }
    unexposed.offsets.push_back(static_cast<int64_t>(unexposed.candidates.size()));
  }
}

int64_t round_half_up(double value) { return static_cast<int64_t>(std::floor(value + 0.5)); }

int64_t num_to_draw(const Options& options, int64_t num_exposed, int64_t num_unexposed) {
  if (num_exposed == 0) return std::min(num_unexposed, options.unexposed_if_empty);
  const int64_t wanted = round_half_up(options.unexposed_ratio * static_cast<double>(num_exposed));
  return std::min({num_unexposed, wanted, options.unexposed_cap});
}

}  // namespace uniscale::es3
