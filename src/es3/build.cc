#include "es3/build.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/threads.h"
#include "base/version.h"
#include "es3/flat_size.h"
#include "es3/pack.h"
#include "logstore/logstore.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

std::string part_of(base::Day day) { return fmt::format("dt={}", base::format_day(day)); }
std::string folder_of(base::Day day, int bucket) {
  return fmt::format("samples/{}/bucket={:03}", part_of(day), bucket);
}

EntityVersions load_items(const logstore::LogStore& store) {
  const std::optional<std::string> file = store.items_file();
  if (!file) return {};
  return EntityVersions::load(*file, "item_id", {"title", "category"}, store.schema().item);
}

EntityVersions load_users(const logstore::LogStore& store, int bucket) {
  const std::optional<std::string> file = store.users_file(bucket);
  // Without declared columns a user's version says nothing.
  if (!file || store.schema().user.empty()) return {};
  return EntityVersions::load(*file, "user_id", {}, store.schema().user);
}

// One day's build: what its buckets share.
class DayBuild {
 public:
  DayBuild(const BuildRequest& request, const logstore::LogStore& store, const EntityVersions& items,
           base::Day day)
      : request_(request),
        store_(store),
        items_(items),
        ranges_(ranges_of(request.options, day)),
        num_threads_(base::resolve_num_threads(request.options.threads)),
        publisher_(request.options.samples, part_of(day)) {}

  DayReport run() {
    find_strays();
    const int num_buckets = store_.schema().num_buckets;
    std::vector<BucketReport> reports(static_cast<size_t>(num_buckets));
    base::parallel_for(num_threads_, num_buckets, [&](int64_t bucket) {
      reports[static_cast<size_t>(bucket)] = build_bucket(static_cast<int>(bucket));
    });
    DayReport report;
    report.day = ranges_.day;
    for (const BucketReport& bucket : reports) report.counts.merge(bucket);
    report.counts.events.merge(count_unknown(strays_, ranges_));
    US_CHECK(report.counts.events.total() == report.counts.events.num_events,
             "an event of the day was lost or counted twice");
    list_missing_days(report);
    report.storage = storage_;
    publish(report);
    return report;
  }

 private:
  // Events whose request may stand in another bucket are matched before the buckets are built: es3.md §1,
  // "users need not match".
  void find_strays() {
    const int num_buckets = store_.schema().num_buckets;
    std::vector<std::vector<StrayEvent>> found(static_cast<size_t>(num_buckets));
    base::parallel_for(num_threads_, num_buckets, [&](int64_t bucket) {
      const BucketLogs logs = load_bucket_logs(store_, ranges_, static_cast<int>(bucket), Load::Ids);
      found[static_cast<size_t>(bucket)] = collect_strays(logs, request_.options, ranges_);
    });
    for (std::vector<StrayEvent>& strays : found) {
      strays_.insert(strays_.end(), std::make_move_iterator(strays.begin()),
                     std::make_move_iterator(strays.end()));
    }
    if (strays_.empty()) return;
    std::vector<std::vector<StrayMatch>> matches(static_cast<size_t>(num_buckets));
    base::parallel_for(num_threads_, num_buckets, [&](int64_t bucket) {
      const BucketLogs logs = load_bucket_logs(store_, ranges_, static_cast<int>(bucket), Load::Ids);
      matches[static_cast<size_t>(bucket)] =
          match_strays(logs, request_.options, ranges_, static_cast<int>(bucket), strays_);
    });
    for (const std::vector<StrayMatch>& bucket_matches : matches)
      accept_matches(request_.options, bucket_matches, strays_);
  }

  BucketReport build_bucket(int bucket) {
    const schema::LogSchema& schema = store_.schema();
    const Options& options = request_.options;
    const BucketLogs logs = load_bucket_logs(store_, ranges_, bucket);
    const EntityVersions users = load_users(store_, bucket);
    const NativeStage native = find_native(logs, options, ranges_, bucket, strays_);
    Draft draft = expose(logs, ranges_, schema.search_domain, native);
    add_unexposed(logs, options, schema.hash_seed, draft);
    if (!draft.requests.empty()) {
      const Histories histories = build_histories(logs, options, request_.sequences, draft);
      write(bucket,
            Packer(schema, request_.sequences, logs, items_, users,
                   static_cast<size_t>(request_.max_column_bytes)),
            draft, histories);
    }
    return report_draft(draft, native.events);
  }

  void write(int bucket, const Packer& packer, const Draft& draft, const Histories& histories) {
    const std::string folder = folder_of(ranges_.day, bucket);
    std::string path;
    {
      const std::scoped_lock lock(mutex_);
      path = publisher_.data_path(folder);
    }
    table::ParquetWriteOptions write_options;
    write_options.plain_columns = {"request_id"};
    table::ParquetWriter writer(path, write_options);
    std::optional<FlatSize> flat;
    if (request_.measure_flat) flat.emplace(path);
    int64_t most_rows = request_.options.row_group_requests;
    for (size_t row = 0; row < draft.requests.size();) {
      const size_t end = row_group_end(draft, row, most_rows);
      table::Table rows;
      try {
        rows = packer.pack(draft, histories, row, end);
      } catch (const ColumnTooLarge&) {
        US_REQUIRE(
            end - row > 1,
            fmt::format("requests, {}, bucket {}: one request holds more than {} bytes of text in one column",
                        base::format_day(ranges_.day), bucket, request_.max_column_bytes));
        most_rows = static_cast<int64_t>((end - row) / 2);
        continue;
      }
      writer.write(rows);
      if (flat) flat->add(rows);
      row = end;
      most_rows = request_.options.row_group_requests;
    }
    const int64_t num_rows = writer.num_rows();
    writer.close();
    publisher_.add_file(folder, num_rows);
    const std::scoped_lock lock(mutex_);
    storage_.list_bytes += file_size(path);
    if (flat) {
      const FlatSize::Bytes bytes = flat->finish();
      storage_.flat_sorted_bytes += bytes.sorted;
      storage_.flat_shuffled_bytes += bytes.shuffled;
    }
  }

  void list_missing_days(DayReport& report) const {
    const std::vector<base::Day> days = store_.days();
    const std::set<base::Day> present(days.begin(), days.end());
    for (base::Day day = ranges_.day.plus(1); day <= ranges_.final_day; day = day.plus(1)) {
      if (!present.contains(day)) report.missing_later.push_back(day);
    }
    // Days before the store begins are not missing: there was no log.
    for (base::Day day = std::max(ranges_.first_day, days.front()); day < ranges_.day; day = day.plus(1)) {
      if (!present.contains(day)) report.missing_earlier.push_back(day);
    }
    report.is_final = report.missing_later.empty();
  }

  // The options that decide the rows, without places, days and threads: what the fingerprint stands on, so
  // that equal fingerprints mean equal rows.
  std::string rules_text() const {
    Options rules = request_.options;
    rules.store = rules.samples = rules.dt = rules.from = rules.to = "";
    rules.threads = 0;
    return section().resolved(&rules) + schema::sequence_section().resolved(&request_.sequences);
  }

  void publish(const DayReport& report) {
    json::Value inputs;
    for (const base::Day day : store_.days()) {
      if (ranges_.first_day <= day && day <= ranges_.last_day) inputs[part_of(day)] = store_.day_hash(day);
    }
    for (const char* part : {"items", "users"}) {
      if (const auto publication = table::read_publication(store_.path(), part)) {
        base::ContentHasher hasher;
        for (const table::PublishedFile& file : publication->files)
          hasher.update(file.path + "\n" + file.hash + "\n");
        inputs[part] = hasher.hex_digest();
      }
    }
    json::Value body;
    body["kind"] = "samples";
    body["code_version"] = base::kVersion;
    body["state"] = report.is_final ? "final" : "provisional";
    body["log_schema_fingerprint"] = store_.schema().fingerprint();
    body["sample_fingerprint"] = sample_fingerprint(store_.schema(), request_.sequences);
    body["num_buckets"] = store_.schema().num_buckets;
    const StageReport& whole = report.counts.ladder.back();
    body["num_requests"] = whole.num_requests;
    body["num_samples"] = whole.num_samples;
    body["inputs"] = std::move(inputs);
    body["fingerprint"] = base::content_hash(json::dump(body) + rules_text());
    body["report"] = to_json(report);
    body["config"] = request_.resolved_config;
    publisher_.publish(std::move(body));
    const std::string folder = request_.options.samples + "/reports";
    base::make_directories(folder);
    base::write_file_atomically(fmt::format("{}/{}.json", folder, part_of(report.day)),
                                json::dump(to_json(report)) + "\n");
    base::write_file_atomically(fmt::format("{}/{}.txt", folder, part_of(report.day)), to_text(report));
  }

  const BuildRequest& request_;
  const logstore::LogStore& store_;
  const EntityVersions& items_;
  const DayRanges ranges_;
  const int num_threads_;
  table::Publisher publisher_;
  std::vector<StrayEvent> strays_;
  std::mutex mutex_;
  StorageReport storage_;
};

}  // namespace

std::vector<DayReport> build(const BuildRequest& request,
                             const std::function<void(const DayReport&)>& on_day) {
  check(request.options);
  const std::vector<base::Day> days = days_asked(request.options);
  const logstore::LogStore store(request.options.store);
  // Before any work: a span with a hole is refused as a whole.
  std::vector<base::Day> missing;
  std::copy_if(days.begin(), days.end(), std::back_inserter(missing),
               [&](base::Day day) { return !store.has_day(day); });
  if (!missing.empty()) {
    throw base::NotReadyError(
        fmt::format("{}: not ingested yet: {}", request.options.store, format_days(missing)));
  }
  const EntityVersions items = load_items(store);
  std::vector<DayReport> reports;
  for (const base::Day day : days) {
    reports.push_back(DayBuild(request, store, items, day).run());
    if (on_day) on_day(reports.back());
  }
  return reports;
}

}  // namespace uniscale::es3
