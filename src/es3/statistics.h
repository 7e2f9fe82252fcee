// What a day of search teaches the days after it (es3.md §3.2, §4): who clicked which item under which query,
// which queries were asked, how often exposed candidates are clicked. Made once a day, in one pass over its
// buckets, and kept beside the samples, so that a day is built from the days before it without reading them
// again (docs/formats/samples.md):
//
//   <samples>/statistics/clicks/dt=…/part-GGGGGG.parquet            item_id, query, user_id?, clicks
//   <samples>/statistics/queries/dt=…/part-GGGGGG.parquet           query, requests
//   <samples>/statistics/own/dt=…/bucket=NNN/part-GGGGGG.parquet    user_id, item_id, query, request_ts_ms,
//   event_ts_ms <samples>/statistics/manifests/dt=….json
//
// "Day" is the day of the event, or of the request for queries and click rate (docs/decisions/es3.md).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "es3/detail/id_index.h"
#include "es3/entity_versions.h"
#include "es3/options.h"
#include "logstore/logstore.h"
#include "table/publication.h"
#include "table/table.h"

namespace uniscale::es3 {

class ItemTexts;
class OwnQueries;

// Where the statistics of a sample set stand.
std::string statistics_folder(const std::string& samples);

struct ClickRate {
  int64_t num_exposed = 0;
  int64_t num_clicked = 0;
};

// Makes the statistics of `days` that are missing or were made from other inputs or rules. They do not depend
// on the items table, which changes every day.
void ensure_statistics(const logstore::LogStore& store, const Options& options,
                       const std::vector<base::Day>& days);

// The statistics that the build of one day asks for, in memory. Immutable and thread-safe once loaded.
class Statistics {
 public:
  // The days that a build of `day` reads, of those the store has.
  static std::vector<base::Day> days_for(const logstore::LogStore& store, const Options& options,
                                         base::Day day);
  // `items`: categories of clicked items, of the version valid at the end of the click's day.
  Statistics(const std::string& samples, const Options& options, base::Day day,
             const std::vector<base::Day>& days, const ItemTexts& items);

  // On a day of the look-back before `event_day`, somebody natively clicked the item, or an item of the
  // category (data() null = none), under exactly this query.
  bool was_clicked(std::string_view query, std::string_view item_id, base::Day event_day) const;
  bool was_category_clicked(std::string_view query, std::string_view category, base::Day event_day) const;

  // Tier 2 for `day`: the query with most distinct users that clicked the item.
  struct CoQuery {
    std::string_view query;
    int64_t num_users = 0;
  };
  std::optional<CoQuery> co_query(std::string_view item_id) const;

  // Tier 3 for `day`: queries asked at least `ann_min_count` times, by bytes.
  const std::vector<std::string_view>& query_bank() const { return query_bank_; }

  // The day before `day`; nullopt if it has no statistics.
  const std::optional<ClickRate>& click_rate() const { return click_rate_; }

 private:
  friend class OwnQueries;
  struct Click {
    int32_t item;
    int32_t query;
    int32_t day;
    int32_t user;  // −1: null
    int64_t clicks;
  };
  struct Category {
    int32_t query;
    int32_t category;
    int32_t day;
    auto operator<=>(const Category&) const = default;
  };
  void load_clicks(table::Table rows, base::Day day, const ItemTexts& items);

  const int32_t lookback_days_;
  const int64_t co_min_users_;
  const base::Day day_;
  const base::Day first_own_day_;  // of tier 1
  const std::string folder_;
  std::vector<std::pair<base::Day, table::Publication>> publications_;  // by day
  std::deque<table::Table> tables_;
  IdIndex items_, queries_, users_, categories_;
  std::vector<Click> clicks_;          // by (item, query, day, user)
  std::vector<size_t> item_offsets_;   // by item, into clicks_
  std::vector<Category> by_category_;  // sorted
  std::vector<std::string_view> query_bank_;
  std::optional<ClickRate> click_rate_;
};

// The queries under which the users of one bucket acted on items on days before that of `statistics` (tier
// 1), by user.
class OwnQueries {
 public:
  OwnQueries() = default;
  OwnQueries(const Statistics& statistics, int bucket);
  struct Entry {
    std::string_view item_id;
    std::string_view query;
    int64_t request_ts_ms = 0;
    int64_t event_ts_ms = 0;
  };
  std::span<const Entry> of(std::string_view user_id) const;

 private:
  std::deque<table::Table> tables_;
  IdIndex users_;
  std::vector<size_t> offsets_;
  std::vector<Entry> entries_;
};

}  // namespace uniscale::es3
