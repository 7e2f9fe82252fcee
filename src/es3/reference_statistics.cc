// The slow twin of what past days teach (es3.md §3.2, §4): every question looks at all native events or all
// requests.
#include <algorithm>
#include <cmath>
#include <set>

#include "es3/detail/reference_steps.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

constexpr int64_t kNegativesWithoutDay = 10;
constexpr int64_t kMostAutoNegatives = 20;

bool is_usable(const std::optional<std::string>& query) { return query && !query->empty(); }

// −1, below any floor, if one of them is zero.
double embedding_cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0, a_norm = 0, b_norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    a_norm += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    b_norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return a_norm == 0 || b_norm == 0 ? -1 : product / std::sqrt(a_norm * b_norm);
}

}  // namespace

PlainPastDays::PlainPastDays(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                             const std::vector<NativeEvent>& natives)
    : logs_(logs), schema_(schema), options_(options), natives_(natives), vectors_(schema.hash_seed) {
  if (options.query_embeddings.empty()) return;
  const table::ParquetReader reader(options.query_embeddings);
  for (int group = 0; group < reader.num_row_groups(); ++group) {
    const table::Table rows = reader.read_row_group(group);
    const table::Column& embedding = rows.require("embedding", table::Type::List, options.query_embeddings);
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      std::vector<float> values;
      for (int64_t k = embedding.list_begin(i); k < embedding.list_end(i); ++k)
        values.push_back(embedding.child(0).floats()[static_cast<size_t>(k)]);
      const std::string_view query =
          rows.require("query", table::Type::String, options.query_embeddings).string(i);
      // Of a query given twice the first counts.
      if (!values.empty()) query_embeddings_.try_emplace(std::string(query), values);
    }
  }
}

bool PlainPastDays::is_before(int64_t ts_ms, base::Day day) const {
  const int lookback_days = static_cast<int>(options_.stats_lookback.ms / base::kDayMs);
  return base::day_of(ts_ms) < day && base::day_of(ts_ms) >= day.plus(-lookback_days);
}

// The clicked item's category is that of the end of the click's day.
bool PlainPastDays::was_clicked(const std::string& query, const std::string& item_id,
                                const std::optional<std::string>& category, base::Day event_day) {
  for (const NativeEvent& native : natives_) {
    if (native.event->action != "click" || native.request->query != query) continue;
    if (!is_before(native.event->ts_ms, event_day)) continue;
    if (native.event->item_id == item_id) return true;
    const PlainItem* other =
        item_at_time(logs_, native.event->item_id, base::day_of(native.event->ts_ms).end_ms() - 1);
    if (category && other && category == other->category) return true;
  }
  return false;
}

// Ties: more clicks, smaller query. Null users are not counted.
std::optional<PastDays::CoQuery> PlainPastDays::co_query(const std::string& item_id, base::Day day) {
  struct Clicks {
    std::set<std::string> users;
    int64_t num_clicks = 0;
  };
  std::map<std::string, Clicks> by_query;
  for (const NativeEvent& native : natives_) {
    if (native.event->action != "click" || native.event->item_id != item_id) continue;
    if (!native.event->user_id || !is_usable(native.request->query)) continue;
    if (!is_before(native.event->ts_ms, day)) continue;
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
  if (!best) return std::nullopt;
  const auto num_users = static_cast<int64_t>(by_query.at(*best).users.size());
  if (num_users < options_.co_min_users) return std::nullopt;
  return CoQuery{*best, num_users};
}

std::vector<std::string> PlainPastDays::query_bank(base::Day day) const {
  std::map<std::string, int64_t> num_requests;
  for (const PlainRequest& request : logs_.requests) {
    if (request.domain == schema_.search_domain && is_usable(request.query) && is_before(request.ts_ms, day))
      ++num_requests[*request.query];
  }
  std::vector<std::string> bank;
  for (const auto& [query, count] : num_requests) {
    if (count >= options_.ann_min_count) bank.push_back(query);
  }
  return bank;
}

// By every query of the bank. Ties: smaller query, which comes first.
std::optional<PastDays::SimilarQuery> PlainPastDays::similar_query(const PlainItem& item, base::Day day) {
  std::optional<SimilarQuery> best;
  const bool has_embeddings =
      !query_embeddings_.empty() && query_embeddings_.begin()->second.size() == item.embedding.size();
  if (has_embeddings) {
    for (const std::string& query : query_bank(day)) {
      const auto found = query_embeddings_.find(query);
      if (found == query_embeddings_.end()) continue;
      const double similarity = embedding_cosine(item.embedding, found->second);
      if (similarity >= options_.ann_floor && (!best || similarity > best->similarity))
        best = SimilarQuery{query, similarity};
    }
    return best;
  }
  if (!item.title) return std::nullopt;
  const text::NgramVector& title = vectors_.of(*item.title);
  text::NgramVector best_vector;
  for (const std::string& query : query_bank(day)) {
    const text::NgramVector& vector = vectors_.of(query);
    if (!text::at_least(vector, title, options_.ann_floor)) continue;
    if (best && !is_greater_cosine(text::dot(vector, title), vector.squared_norm,
                                   text::dot(best_vector, title), best_vector.squared_norm))
      continue;
    best_vector = vector;
    best = SimilarQuery{query, text::cosine(vector, title)};
  }
  return best;
}

// From the exposed search samples of the day before and the native events stamped before `day`. Rounded as a
// ratio of counts, so that no halves are lost.
int64_t PlainPastDays::auto_negatives(base::Day day) {
  int64_t num_exposed = 0;
  int64_t num_clicked = 0;
  for (const PlainRequest& request : logs_.requests) {
    if (request.domain != schema_.search_domain || base::day_of(request.ts_ms) != day.plus(-1)) continue;
    for (const PlainCandidate& candidate : request.candidates) {
      if (!candidate.position) continue;
      ++num_exposed;
      if (is_native(natives_, request, candidate.item_id, {"click", "cart", "purchase"}, day.begin_ms() - 1))
        ++num_clicked;
    }
  }
  if (num_exposed == 0) return kNegativesWithoutDay;
  if (num_clicked == 0) return kMostAutoNegatives;
  const int64_t rounded = (2 * (num_exposed - num_clicked) + num_clicked) / (2 * num_clicked);
  return std::clamp<int64_t>(rounded, 1, kMostAutoNegatives);
}

}  // namespace uniscale::es3
