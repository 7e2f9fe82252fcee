// The slow twin of the three tiers of es3.md §4: which query stands for a click of another domain.
#include "es3/detail/reference_steps.h"

namespace uniscale::es3 {
namespace {

bool is_usable(const std::optional<std::string>& query) { return query && !query->empty(); }

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

// The query under which most users natively clicked the item.
bool find_co(const TwinInputs& in, PlainCross& click) {
  const auto found = in.past.co_query(click.event->item_id, base::day_of(click.request->ts_ms));
  if (!found) return false;
  click.tier = schema::QueryTier::Co;
  click.query = found->query;
  click.score = static_cast<double>(found->num_users);
  return true;
}

bool find_similar(const TwinInputs& in, PlainCross& click) {
  const PlainItem* item = item_at_time(in.logs, click.event->item_id, click.request->ts_ms);
  if (!item) return false;
  const auto found = in.past.similar_query(*item, base::day_of(click.request->ts_ms));
  if (!found) return false;
  click.tier = schema::QueryTier::Ann;
  click.query = found->query;
  click.score = found->similarity;
  return true;
}

}  // namespace

bool find_query(const TwinInputs& inputs, PlainCross& click) {
  return find_own(inputs, click) || find_co(inputs, click) || find_similar(inputs, click);
}

}  // namespace uniscale::es3
