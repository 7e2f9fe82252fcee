// One day's statistics: the pass over its buckets, and its files.
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "base/threads.h"
#include "es3/native.h"
#include "es3/statistics.h"
#include "es3/strays.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

constexpr int kStatisticsVersion = 1;

// The day's events and the requests that they can belong to.
DayRanges statistics_ranges(const Options& options, base::Day day) {
  const int64_t window = longest_window(options).ms;
  const int64_t skew = options.clock_skew.ms;
  DayRanges ranges;
  ranges.day = day;
  ranges.has_rows = false;
  ranges.samples = {day.begin_ms(), day.end_ms()};
  ranges.requests = {day.begin_ms() - window - skew, day.end_ms() + skew};
  ranges.labelled = ranges.ids = ranges.queries = ranges.requests;
  ranges.labels = ranges.events = {day.begin_ms() - skew, day.end_ms()};
  ranges.first_day = base::day_of(ranges.requests.begin_ms);
  ranges.last_day = base::day_of(ranges.requests.end_ms - 1);
  ranges.final_day = ranges.last_day;
  return ranges;
}

// Grows rows of views into owned rows: the logs of a bucket go away before the day is written.
struct ClickRow {
  std::string item_id, query, user_id;
  int64_t clicks = 0;
  auto key() const { return std::tie(item_id, query, user_id); }
};
struct QueryRow {
  std::string query;
  int64_t requests = 0;
  auto key() const { return std::tie(query); }
};

// Sorts by key and adds up the counts of equal keys.
template <class Row>
void sum_up(std::vector<Row>& rows, int64_t Row::* count) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.key() < b.key(); });
  size_t kept = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (kept > 0 && rows[kept - 1].key() == rows[i].key()) {
      rows[kept - 1].*count += rows[i].*count;
    } else {
      if (kept != i) rows[kept] = std::move(rows[i]);
      ++kept;
    }
  }
  rows.resize(kept);
}

struct Collected {
  std::vector<ClickRow> clicks;
  std::vector<QueryRow> queries;
  ClickRate rate;

  void append(Collected&& other) {
    std::move(other.clicks.begin(), other.clicks.end(), std::back_inserter(clicks));
    std::move(other.queries.begin(), other.queries.end(), std::back_inserter(queries));
    rate.num_exposed += other.rate.num_exposed;
    rate.num_clicked += other.rate.num_clicked;
  }
  void sum() {
    sum_up(clicks, &ClickRow::clicks);
    sum_up(queries, &QueryRow::requests);
  }
};

class StatisticsBuild {
 public:
  StatisticsBuild(const logstore::LogStore& store, const Options& options, base::Day day)
      : store_(store),
        options_(options),
        ranges_(statistics_ranges(options, day)),
        publisher_(statistics_folder(options.samples), table::day_part(day)) {}

  void run(const std::string& fingerprint) {
    const int num_threads = base::resolve_num_threads(options_.threads);
    const std::vector<StrayEvent> strays = find_strays(store_, options_, ranges_, num_threads);
    Collected all;
    base::parallel_for(num_threads, store_.schema().num_buckets, [&](int64_t bucket) {
      Collected some = collect(static_cast<int>(bucket), strays);
      const std::scoped_lock lock(mutex_);
      all.append(std::move(some));
    });
    all.sum();
    write_clicks(all);
    write_queries(all);
    json::Value body;
    body["kind"] = "statistics";
    body["fingerprint"] = fingerprint;
    body["num_exposed"] = all.rate.num_exposed;
    body["num_clicked"] = all.rate.num_clicked;
    publisher_.publish(std::move(body));
  }

 private:
  Collected collect(int bucket, const std::vector<StrayEvent>& strays) {
    const BucketLogs logs = load_bucket_logs(store_, ranges_, bucket);
    const NativeStage native = find_native(logs, options_, ranges_, bucket, strays);
    Collected some;
    for (const RequestRow& request : logs.requests) {
      if (!request.in_search || !ranges_.samples.contains(request.ts_ms)) continue;
      for (int32_t c = 0; c < request.num_candidates(); ++c)
        some.rate.num_exposed += logs.is_exposed(request, c);
      if (!request.query.empty()) some.queries.push_back({std::string(request.query), 1});
    }
    table::StringVector users, own_items, own_queries;
    std::vector<int64_t> request_ts, event_ts;
    for (size_t i = 0; i < native.credits.size(); ++i) {
      const Credit& credit = native.credits[i];
      const RequestRow& request = logs.requests[static_cast<size_t>(credit.request)];
      const bool is_first = i == 0 || native.credits[i - 1].request != credit.request ||
                            native.credits[i - 1].candidate != credit.candidate;
      if (is_first && ranges_.samples.contains(request.ts_ms)) ++some.rate.num_clicked;
      if (request.query.empty() || !ranges_.samples.contains(credit.ts_ms)) continue;
      const std::string_view item_id = logs.item_id(request, credit.candidate);
      if (request.user != kNullUser) {
        users.push(logs.user_id(request.user));
        own_items.push(item_id);
        own_queries.push(request.query);
        request_ts.push_back(request.ts_ms);
        event_ts.push_back(credit.ts_ms);
      }
      if (credit.action != Action::Click) continue;
      some.clicks.push_back(
          {std::string(item_id), std::string(request.query), std::string(credit.user_id), 1});
    }
    some.sum();
    if (!event_ts.empty()) {
      table::Table rows;
      rows.add("user_id", table::make_strings(std::move(users)));
      rows.add("item_id", table::make_strings(std::move(own_items)));
      rows.add("query", table::make_strings(std::move(own_queries)));
      rows.add("request_ts_ms", table::make_int64s(std::move(request_ts)));
      rows.add("event_ts_ms", table::make_int64s(std::move(event_ts)));
      write(fmt::format("own/{}/bucket={:03}", table::day_part(ranges_.day), bucket), rows);
    }
    return some;
  }

  void write_clicks(const Collected& all) {
    table::StringVector items, queries, users;
    std::vector<int64_t> clicks;
    for (const ClickRow& row : all.clicks) {
      items.push(row.item_id);
      queries.push(row.query);
      row.user_id.empty() ? users.push_null() : users.push(row.user_id);
      clicks.push_back(row.clicks);
    }
    table::Table rows;
    rows.add("item_id", table::make_strings(std::move(items)));
    rows.add("query", table::make_strings(std::move(queries)));
    rows.add("user_id", table::make_strings(std::move(users)));
    rows.add("clicks", table::make_int64s(std::move(clicks)));
    write("clicks/" + table::day_part(ranges_.day), rows);
  }

  void write_queries(const Collected& all) {
    table::StringVector queries;
    std::vector<int64_t> requests;
    for (const QueryRow& row : all.queries) {
      queries.push(row.query);
      requests.push_back(row.requests);
    }
    table::Table rows;
    rows.add("query", table::make_strings(std::move(queries)));
    rows.add("requests", table::make_int64s(std::move(requests)));
    write("queries/" + table::day_part(ranges_.day), rows);
  }

  void write(const std::string& folder, const table::Table& rows) {
    std::string path;
    {
      const std::scoped_lock lock(mutex_);
      path = publisher_.data_path(folder);
    }
    table::ParquetWriter writer(path, {});
    writer.write(rows);
    writer.close();
    publisher_.add_file(folder, rows.num_rows());
  }

  const logstore::LogStore& store_;
  const Options& options_;
  const DayRanges ranges_;
  table::Publisher publisher_;
  std::mutex mutex_;
};

}  // namespace

void ensure_statistics(const logstore::LogStore& store, const Options& options,
                       const std::vector<base::Day>& days) {
  for (const base::Day day : days) {
    const DayRanges ranges = statistics_ranges(options, day);
    std::string made_from =
        fmt::format("statistics {}\n{}\n{} {} {} {} {}\n", kStatisticsVersion, store.schema().fingerprint(),
                    options.clock_skew.ms, options.native_window.ms, options.click_window.ms,
                    options.cart_window.ms, options.purchase_window.ms);
    for (base::Day input = ranges.first_day; input <= ranges.last_day; input = input.plus(1)) {
      made_from += fmt::format("{} {}\n", base::format_day(input),
                               store.has_day(input) ? store.day_hash(input) : std::string("none"));
    }
    const std::string fingerprint = base::content_hash(made_from);
    const auto published = table::read_publication(statistics_folder(options.samples), table::day_part(day));
    if (published && published->body.contains("fingerprint") &&
        published->body["fingerprint"] == json::Value(fingerprint))
      continue;
    StatisticsBuild(store, options, day).run(fingerprint);
  }
}

}  // namespace uniscale::es3
