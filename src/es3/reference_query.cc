// The slow twin of the three tiers of es3.md §4: which query stands for a click of another domain.
#include <set>

#include "es3/detail/reference_steps.h"

namespace uniscale::es3 {
namespace {

bool is_usable(const std::optional<std::string>& query) { return query && !query->empty(); }

// "On days before g's day within stats_lookback."
bool is_stats_day(const Options& options, const PlainRequest& request, int64_t ts_ms) {
  const base::Day day = base::day_of(request.ts_ms);
  return base::day_of(ts_ms) < day &&
         base::day_of(ts_ms) >= day.plus(-static_cast<int>(options.stats_lookback.ms / base::kDayMs));
}

// The latest query of the click's user whose request had a native event on the item before g.ts. Ties:
// smaller query.
bool find_own(const TwinInputs& in, PlainCross& click) {
  const int64_t limit_ms = click.request->ts_ms;
  const PlainRequest* latest = nullptr;
  for (const NativeEvent& native : in.natives) {
    const PlainRequest& asked = *native.request;
    if (!click.event->user_id || asked.user_id != click.event->user_id || !is_usable(asked.query)) continue;
    if (native.event->item_id != click.event->item_id || native.event->ts_ms >= limit_ms) continue;
    if (asked.ts_ms >= limit_ms || asked.ts_ms < limit_ms - in.options.own_lookback.ms) continue;
    if (!latest || asked.ts_ms > latest->ts_ms ||
        (asked.ts_ms == latest->ts_ms && *asked.query < *latest->query))
      latest = &asked;
  }
  if (!latest) return false;
  click.tier = schema::QueryTier::Own;
  click.query = *latest->query;
  click.score = 1;
  return true;
}

// The query under which most users natively clicked the item. Ties: more clicks, smaller query.
bool find_co(const TwinInputs& in, PlainCross& click) {
  struct Clicks {
    std::set<std::string> users;
    int64_t num_clicks = 0;
  };
  std::map<std::string, Clicks> by_query;
  for (const NativeEvent& native : in.natives) {
    if (native.event->action != "click" || native.event->item_id != click.event->item_id) continue;
    if (!native.event->user_id || !is_usable(native.request->query)) continue;
    if (!is_stats_day(in.options, *click.request, native.event->ts_ms)) continue;
    Clicks& clicks = by_query[*native.request->query];
    clicks.users.insert(*native.event->user_id);
    ++clicks.num_clicks;
  }
  const std::string* best = nullptr;
  const auto is_better = [&](const Clicks& a, const Clicks& b) {
    return a.users.size() != b.users.size() ? a.users.size() > b.users.size() : a.num_clicks > b.num_clicks;
  };
  // Ascending queries: an equal one comes too late.
  for (const auto& [query, clicks] : by_query) {
    if (!best || is_better(clicks, by_query.at(*best))) best = &query;
  }
  if (!best || static_cast<int64_t>(by_query.at(*best).users.size()) < in.options.co_min_users) return false;
  click.tier = schema::QueryTier::Co;
  click.query = *best;
  click.score = static_cast<double>(by_query.at(*best).users.size());
  return true;
}

// The query most similar to the item's title. Ties: smaller query.
bool find_similar(const TwinInputs& in, PlainCross& click) {
  const PlainItem* item = item_at_time(in.logs, click.event->item_id, click.request->ts_ms);
  if (!item || !item->title) return false;
  std::map<std::string, int64_t> num_requests;
  for (const PlainRequest& request : in.logs.requests) {
    if (request.domain == in.schema.search_domain && is_usable(request.query) &&
        is_stats_day(in.options, *click.request, request.ts_ms))
      ++num_requests[*request.query];
  }
  const text::NgramVector& title = in.vectors.of(*item->title);
  bool is_found = false;
  text::NgramVector best;
  for (const auto& [query, count] : num_requests) {
    if (count < in.options.ann_min_count) continue;
    const text::NgramVector& vector = in.vectors.of(query);
    if (!text::at_least(vector, title, in.options.ann_floor)) continue;
    if (is_found && !is_greater_cosine(text::dot(vector, title), vector.squared_norm, text::dot(best, title),
                                       best.squared_norm))
      continue;
    is_found = true;
    best = vector;
    click.query = query;
    click.score = text::cosine(vector, title);
  }
  if (is_found) click.tier = schema::QueryTier::Ann;
  return is_found;
}

}  // namespace

bool find_query(const TwinInputs& inputs, PlainCross& click) {
  return find_own(inputs, click) || find_co(inputs, click) || find_similar(inputs, click);
}

}  // namespace uniscale::es3
