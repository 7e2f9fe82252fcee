#include "es3/detail/why_logs.h"

#include <algorithm>

#include "es3/searchify.h"

namespace uniscale::es3 {
namespace {

bool holds(const std::set<std::string>& ids, const std::optional<std::string>& id) {
  return id && ids.contains(*id);
}

PlainLogs read_rows(const logstore::LogStore& store, base::Day first_day, base::Day last_day,
                    const std::set<std::string>& users, const std::set<std::string>& request_ids) {
  PlainFilter filter;
  filter.first_day = first_day;
  filter.last_day = last_day;
  filter.requests = [&](const PlainRequest& request) {
    return holds(users, request.user_id) || request_ids.contains(request.request_id);
  };
  PlainLogs logs;
  logs.requests = read_logs(store, filter).requests;
  std::set<std::string> known = request_ids;
  for (const PlainRequest& request : logs.requests) known.insert(request.request_id);
  filter.requests = nullptr;
  filter.events = [&](const PlainEvent& event) {
    return holds(users, event.user_id) || holds(known, event.request_id);
  };
  logs.events = read_logs(store, filter).events;
  // Every request with an id that an event names: the event may belong to any of them.
  std::set<std::string> named;
  for (const PlainEvent& event : logs.events) {
    if (event.request_id) named.insert(*event.request_id);
  }
  filter.events = nullptr;
  filter.requests = [&](const PlainRequest& request) {
    return named.contains(request.request_id) && !request_ids.contains(request.request_id) &&
           !holds(users, request.user_id);
  };
  PlainLogs more = read_logs(store, filter);
  std::move(more.requests.begin(), more.requests.end(), std::back_inserter(logs.requests));
  return logs;
}

}  // namespace

PlainLogs read_concerned(const logstore::LogStore& store, const Options& options, int64_t first_ms,
                         int64_t last_ms, const std::set<std::string>& users,
                         const std::set<std::string>& request_ids) {
  const int64_t window = longest_window(options).ms + options.clock_skew.ms;
  const base::Day first_day = base::day_of(first_ms - window - std::max(window, options.own_lookback.ms));
  const base::Day last_day = base::day_of(last_ms + 2 * window);
  PlainLogs logs = read_rows(store, first_day, last_day, users, request_ids);
  // Others who clicked in a request of these users: what they searched decides about their clicks.
  std::set<std::string> all_users = users;
  std::set<std::string> cross_ids;
  for (const PlainRequest& request : logs.requests) {
    if (request.domain != store.schema().search_domain) cross_ids.insert(request.request_id);
  }
  for (const PlainEvent& event : logs.events) {
    if (event.user_id && holds(cross_ids, event.request_id)) all_users.insert(*event.user_id);
  }
  if (all_users != users) logs = read_rows(store, first_day, last_day, all_users, request_ids);

  PlainFilter entities;
  entities.first_day = first_day;
  entities.last_day = first_day;
  entities.entities = true;
  logs.items = read_logs(store, entities).items;
  std::set<std::string> wanted;
  for (const PlainEvent& event : logs.events) wanted.insert(event.item_id);
  for (const PlainRequest& request : logs.requests) {
    for (const PlainCandidate& candidate : request.candidates) wanted.insert(candidate.item_id);
  }
  // The first title stays in any case: until there is one, the gate is open.
  std::optional<int64_t> first_title_ms;
  for (const PlainItem& item : logs.items) {
    if (item.title) first_title_ms = std::min(first_title_ms.value_or(item.ts_ms), item.ts_ms);
  }
  std::erase_if(logs.items, [&](const PlainItem& item) {
    return !wanted.contains(item.item_id) && !(item.title && item.ts_ms == *first_title_ms);
  });
  return logs;
}

TablePastDays::TablePastDays(const logstore::LogStore& store, const Options& options)
    : store_(store), options_(options) {}

TablePastDays::Past& TablePastDays::past_of(base::Day day) {
  if (!texts_) {
    const auto file = store_.items_file();
    items_ = std::make_unique<EntityVersions>();
    if (file) {
      *items_ =
          EntityVersions::load(*file, "item_id", {"title", "category"}, store_.schema().item, {"embedding"});
    }
    texts_ = std::make_unique<ItemTexts>(*items_, store_.schema().hash_seed, file.value_or(""));
  }
  std::unique_ptr<Past>& past = by_day_[day];
  if (!past) {
    const std::vector<base::Day> days = Statistics::days_for(store_, options_, day);
    ensure_statistics(store_, options_, days);
    past.reset(new Past{Statistics(options_.samples, options_, day, days, *texts_), nullptr});
  }
  return *past;
}

bool TablePastDays::was_clicked(const std::string& query, const std::string& item_id,
                                const std::optional<std::string>& category, base::Day event_day) {
  const Statistics& statistics = statistics_of(event_day);
  return statistics.was_clicked(query, item_id, event_day) ||
         (category && statistics.was_category_clicked(query, *category, event_day));
}

std::optional<PastDays::CoQuery> TablePastDays::co_query(const std::string& item_id, base::Day day) {
  const auto found = statistics_of(day).co_query(item_id);
  if (!found) return std::nullopt;
  return CoQuery{std::string(found->query), found->num_users};
}

std::optional<PastDays::SimilarQuery> TablePastDays::similar_query(const PlainItem& item, base::Day day) {
  Past& past = past_of(day);
  const std::vector<std::string_view>& bank = past.statistics.query_bank();
  const uint64_t hash_seed = store_.schema().hash_seed;
  if (!past.queries) past.queries = std::make_unique<QuerySearch>(options_, bank, hash_seed);
  const auto found =
      past.queries->nearest(text::ngram_vector(item.title.value_or(""), hash_seed), item.embedding, scratch_);
  if (!found) return std::nullopt;
  return SimilarQuery{std::string(bank[static_cast<size_t>(found->query)]), found->similarity};
}

int64_t TablePastDays::auto_negatives(base::Day day) {
  return negatives_per_positive(options_, statistics_of(day).click_rate());
}

}  // namespace uniscale::es3
