#include "es3/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "es3/day_ranges.h"
#include "es3/item_texts.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

int32_t days_of(base::Duration duration) { return static_cast<int32_t>(duration.ms / base::kDayMs); }

// The first day whose events may have given a query of tier 1.
base::Day first_own_day(const Options& options, base::Day day) {
  return base::day_of(day.begin_ms() - options.own_lookback.ms - options.clock_skew.ms);
}

// Calls visit(rows) for every row group of the published files whose path begins with `folder`.
template <class Visit>
void for_each_table(const std::string& store, const table::Publication& publication,
                    const std::string& folder, const Visit& visit) {
  for (const table::PublishedFile& file : publication.files) {
    if (!file.path.starts_with(folder)) continue;
    const table::ParquetReader reader(store + "/" + file.path);
    for (int group = 0; group < reader.num_row_groups(); ++group)
      visit(reader.read_row_group(group), file.path);
  }
}

int64_t count_in(const table::Publication& publication, const char* name) {
  US_REQUIRE(
      publication.body.contains(name) && publication.body[name].is_number_integer(),
      fmt::format("statistics of {}: expected a number \"{}\" in the manifest", publication.part, name));
  return publication.body[name].get<int64_t>();
}

}  // namespace

std::string statistics_folder(const std::string& samples) { return samples + "/statistics"; }

std::vector<base::Day> Statistics::days_for(const logstore::LogStore& store, const Options& options,
                                            base::Day day) {
  const DayRanges ranges = ranges_of(options, day);
  const base::Day first_event = base::day_of(ranges.attributed.begin_ms);
  const base::Day last_event = base::day_of(ranges.attributed.end_ms - 1);
  const base::Day first =
      std::min(first_event.plus(-days_of(options.stats_lookback)), first_own_day(options, day));
  const std::vector<base::Day> present = store.days();
  std::vector<base::Day> days;
  for (const base::Day one : present) {
    // Nobody asks for the statistics of the store's last day or of the last event's day.
    if (first <= one && one < last_event && one < present.back()) days.push_back(one);
  }
  return days;
}

Statistics::Statistics(const std::string& samples, const Options& options, base::Day day,
                       const std::vector<base::Day>& days, const ItemTexts& items)
    : lookback_days_(days_of(options.stats_lookback)),
      co_min_users_(options.co_min_users),
      day_(day),
      first_own_day_(first_own_day(options, day)),
      folder_(statistics_folder(samples)) {
  std::vector<std::pair<std::string_view, int64_t>> counts;
  for (const base::Day one : days) {
    if (auto found = table::read_publication(folder_, table::day_part(one)))
      publications_.emplace_back(one, std::move(*found));
  }
  for (const auto& [one, publication] : publications_) {
    for_each_table(folder_, publication, "clicks/",
                   [&, day_of_clicks = one](table::Table rows, const std::string&) {
                     load_clicks(std::move(rows), day_of_clicks, items);
                   });
    if (one == day.plus(-1))
      click_rate_ = ClickRate{count_in(publication, "num_exposed"), count_in(publication, "num_clicked")};
    if (one >= day || one < day.plus(-lookback_days_)) continue;
    for_each_table(folder_, publication, "queries/", [&](table::Table rows, const std::string& path) {
      tables_.push_back(std::move(rows));
      const table::Table& kept = tables_.back();
      const table::Column& query = kept.require("query", table::Type::String, path);
      const auto requests = kept.require("requests", table::Type::Int64, path).int64s();
      for (int64_t i = 0; i < kept.num_rows(); ++i)
        counts.emplace_back(query.string(i), requests[static_cast<size_t>(i)]);
    });
  }
  std::sort(clicks_.begin(), clicks_.end(), [](const Click& a, const Click& b) {
    return std::tie(a.item, a.query, a.day, a.user) < std::tie(b.item, b.query, b.day, b.user);
  });
  item_offsets_.assign(static_cast<size_t>(items_.size()) + 1, 0);
  for (const Click& click : clicks_) ++item_offsets_[static_cast<size_t>(click.item) + 1];
  std::partial_sum(item_offsets_.begin(), item_offsets_.end(), item_offsets_.begin());
  std::sort(by_category_.begin(), by_category_.end());
  by_category_.erase(std::unique(by_category_.begin(), by_category_.end()), by_category_.end());

  std::sort(counts.begin(), counts.end());
  for (size_t i = 0; i < counts.size();) {
    int64_t sum = 0;
    size_t end = i;
    for (; end < counts.size() && counts[end].first == counts[i].first; ++end) sum += counts[end].second;
    if (sum >= options.ann_min_count) query_bank_.push_back(counts[i].first);
    i = end;
  }
}

void Statistics::load_clicks(table::Table rows, base::Day day, const ItemTexts& items) {
  tables_.push_back(std::move(rows));
  const table::Table& kept = tables_.back();
  const table::Column& item = kept.require("item_id", table::Type::String, "statistics");
  const table::Column& query = kept.require("query", table::Type::String, "statistics");
  const table::Column& user = kept.require("user_id", table::Type::String, "statistics");
  const auto clicks = kept.require("clicks", table::Type::Int64, "statistics").int64s();
  for (int64_t i = 0; i < kept.num_rows(); ++i) {
    const int32_t query_number = queries_.insert(query.string(i));
    clicks_.push_back({items_.insert(item.string(i)), query_number, day.number,
                       user.is_valid(i) ? users_.insert(user.string(i)) : -1,
                       clicks[static_cast<size_t>(i)]});
    const std::string_view category = items.category(items.at(item.string(i), day.end_ms() - 1));
    if (category.data() != nullptr)
      by_category_.push_back({query_number, categories_.insert(category), day.number});
  }
}

bool Statistics::was_clicked(std::string_view query, std::string_view item_id, base::Day event_day) const {
  const int32_t item_number = items_.find(item_id);
  const int32_t query_number = queries_.find(query);
  if (item_number < 0 || query_number < 0) return false;
  const auto first =
      clicks_.begin() + static_cast<std::ptrdiff_t>(item_offsets_[static_cast<size_t>(item_number)]);
  const auto last =
      clicks_.begin() + static_cast<std::ptrdiff_t>(item_offsets_[static_cast<size_t>(item_number) + 1]);
  const auto it = std::lower_bound(first, last, std::pair(query_number, event_day.number - lookback_days_),
                                   [](const Click& click, const std::pair<int32_t, int32_t>& key) {
                                     return std::pair(click.query, click.day) < key;
                                   });
  return it != last && it->query == query_number && it->day < event_day.number;
}

bool Statistics::was_category_clicked(std::string_view query, std::string_view category,
                                      base::Day event_day) const {
  if (category.data() == nullptr) return false;
  const int32_t query_number = queries_.find(query);
  const int32_t category_number = categories_.find(category);
  if (query_number < 0 || category_number < 0) return false;
  const auto it =
      std::lower_bound(by_category_.begin(), by_category_.end(),
                       Category{query_number, category_number, event_day.number - lookback_days_});
  return it != by_category_.end() && it->query == query_number && it->category == category_number &&
         it->day < event_day.number;
}

std::optional<Statistics::CoQuery> Statistics::co_query(std::string_view item_id) const {
  const int32_t item_number = items_.find(item_id);
  if (item_number < 0) return std::nullopt;
  const size_t last = item_offsets_[static_cast<size_t>(item_number) + 1];
  std::optional<CoQuery> best;
  int64_t best_clicks = 0;
  std::vector<int32_t> users;
  for (size_t i = item_offsets_[static_cast<size_t>(item_number)]; i < last;) {
    const int32_t query_number = clicks_[i].query;
    users.clear();
    int64_t num_clicks = 0;
    for (; i < last && clicks_[i].query == query_number; ++i) {
      const Click& click = clicks_[i];
      if (click.user < 0 || click.day >= day_.number || click.day < day_.number - lookback_days_) continue;
      users.push_back(click.user);
      num_clicks += click.clicks;
    }
    std::sort(users.begin(), users.end());
    const auto num_users = static_cast<int64_t>(std::unique(users.begin(), users.end()) - users.begin());
    if (num_users < co_min_users_) continue;
    const std::string_view query = queries_.id(query_number);
    const bool is_better = !best || num_users > best->num_users ||
                           (num_users == best->num_users &&
                            (num_clicks > best_clicks || (num_clicks == best_clicks && query < best->query)));
    if (is_better) {
      best = CoQuery{query, num_users};
      best_clicks = num_clicks;
    }
  }
  return best;
}

OwnQueries::OwnQueries(const Statistics& statistics, int bucket) {
  std::vector<std::pair<int32_t, Entry>> rows;
  for (const auto& [day, publication] : statistics.publications_) {
    if (day < statistics.first_own_day_ || day >= statistics.day_) continue;
    const std::string folder = fmt::format("own/{}/bucket={:03}/", table::day_part(day), bucket);
    for_each_table(statistics.folder_, publication, folder, [&](table::Table read, const std::string& path) {
      tables_.push_back(std::move(read));
      const table::Table& kept = tables_.back();
      const table::Column& user = kept.require("user_id", table::Type::String, path);
      const table::Column& item = kept.require("item_id", table::Type::String, path);
      const table::Column& query = kept.require("query", table::Type::String, path);
      const auto request_ts = kept.require("request_ts_ms", table::Type::Int64, path).int64s();
      const auto event_ts = kept.require("event_ts_ms", table::Type::Int64, path).int64s();
      for (int64_t i = 0; i < kept.num_rows(); ++i) {
        rows.emplace_back(users_.insert(user.string(i)),
                          Entry{item.string(i), query.string(i), request_ts[static_cast<size_t>(i)],
                                event_ts[static_cast<size_t>(i)]});
      }
    });
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  offsets_.assign(static_cast<size_t>(users_.size()) + 1, 0);
  for (const auto& [user, entry] : rows) {
    ++offsets_[static_cast<size_t>(user) + 1];
    entries_.push_back(entry);
  }
  std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
}

std::span<const OwnQueries::Entry> OwnQueries::of(std::string_view user_id) const {
  const int32_t user = users_.find(user_id);
  if (user < 0) return {};
  const size_t first = offsets_[static_cast<size_t>(user)];
  return std::span(entries_).subspan(first, offsets_[static_cast<size_t>(user) + 1] - first);
}

}  // namespace uniscale::es3
