#include "es3/build.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/threads.h"
#include "base/version.h"
#include "es3/flat_size.h"
#include "es3/pack.h"
#include "es3/report_html.h"
#include "es3/searchify.h"
#include "es3/strays.h"
#include "logstore/logstore.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

std::string folder_of(base::Day day, int bucket) {
  return fmt::format("samples/{}/bucket={:03}", table::day_part(day), bucket);
}

EntityVersions load_items(const logstore::LogStore& store) {
  const std::optional<std::string> file = store.items_file();
  if (!file) return {};
  return EntityVersions::load(*file, "item_id", {"title", "category"}, store.schema().item, {"embedding"});
}

EntityVersions load_users(const logstore::LogStore& store, int bucket) {
  const std::optional<std::string> file = store.users_file(bucket);
  // Without declared columns a user's version says nothing.
  if (!file || store.schema().user.empty()) return {};
  return EntityVersions::load(*file, "user_id", {}, store.schema().user);
}

// What became of the events of the day that live in this bucket; clicks that were searchified are counted
// where their request is.
EventCounts count_events(const BucketLogs& logs, const DayRanges& ranges, const NativeStage& native,
                         const AttributionStage& attribution, const CrossClickStage& cross) {
  EventCounts counts;
  for (size_t i = 0; i < logs.events.size(); ++i) {
    const EventRow& event = logs.events[i];
    if (!ranges.samples.contains(event.ts_ms)) continue;
    ++counts.num_events;
    const Verdict place = native.places[i].verdict;
    if (event.action == Action::Other) {
      counts.add(Verdict::OtherAction, event.action);
      continue;
    }
    if (event.in_search && is_orphan(place))
      ++counts.orphans[static_cast<size_t>(place)][static_cast<size_t>(event.action)];
    if (attribution.is_used(i)) {
      counts.add(attribution.fates[i], event.action);
    } else if (cross.fates[i] == Verdict::Native) {
      counts.add(event.in_search ? place : Verdict::CrossDomain, event.action);
    } else if (cross.fates[i] != Verdict::CrossPositive) {
      counts.add(cross.fates[i], event.action);
    }
  }
  return counts;
}

// One day's build: what its buckets share.
class DayBuild {
 public:
  DayBuild(const BuildRequest& request, const logstore::LogStore& store, const EntityVersions& items,
           const ItemTexts& item_texts, base::Day day)
      : request_(request),
        store_(store),
        items_(items),
        ranges_(ranges_of(request.options, day)),
        num_threads_(base::resolve_num_threads(request.options.threads)),
        statistics_days_(ranges_.has_stages ? Statistics::days_for(store, request.options, day)
                                            : std::vector<base::Day>{}),
        statistics_(make_statistics(item_texts)),
        queries_(request.options, statistics_.query_bank(), store.schema().hash_seed),
        knowledge_{item_texts, statistics_, queries_, store.schema().hash_seed},
        publisher_(request.options.samples, table::day_part(day)) {}

  DayReport run() {
    const int num_buckets = store_.schema().num_buckets;
    built_.resize(static_cast<size_t>(num_buckets));
    // First as if no event named a request of another bucket, which is nearly always so.
    base::parallel_for(num_threads_, num_buckets,
                       [&](int64_t bucket) { build_bucket(static_cast<int>(bucket), true); });
    if (has_travellers()) rebuild_with_strays();
    DayReport report;
    report.day = ranges_.day;
    for (const BuiltBucket& bucket : built_) {
      report.counts.merge(bucket.report);
      report.storage.merge(bucket.storage);
    }
    US_CHECK(report.counts.events.total() == report.counts.events.num_events,
             "an event of the day was lost or counted twice");
    report.click_rate_before = statistics_.click_rate();
    report.negatives_per_positive = negatives_per_positive(request_.options, statistics_.click_rate());
    list_missing_days(report);
    report.options = request_.options;
    report.rules = rules_text();
    report.gates = judge(request_.gates, report,
                         volumes_before(request_.options.samples, ranges_.day, request_.gates.median_days));
    report.is_kept_aside = has_failed(report.gates) && !request_.allow_failed_gates;
    if (report.is_kept_aside) {
      publisher_.discard();
      write_reports(report);
    } else {
      publish(report);
    }
    return report;
  }

 private:
  // The stages that work on the events of one bucket's users.
  struct UserSide {
    NativeStage native;
    AttributionStage attribution;
    CrossClickStage cross;
  };

  Statistics make_statistics(const ItemTexts& item_texts) const {
    ensure_statistics(store_, request_.options, statistics_days_);
    return {request_.options.samples, request_.options, ranges_.day, statistics_days_, item_texts};
  }

  struct BuiltBucket {
    BucketReport report;
    StorageReport storage;
    std::vector<StrayEvent> strays;        // of its events, as seen in the first pass
    std::vector<uint64_t> request_hashes;  // of the ids of its requests
  };

  // Whether an event that its own bucket knows no request for may find one in any bucket.
  bool has_travellers() const {
    std::unordered_set<uint64_t> named;
    for (const BuiltBucket& bucket : built_) {
      for (const StrayEvent& stray : bucket.strays) named.insert(base::hash_bytes(stray.request_id, 0));
    }
    if (named.empty()) return false;
    return std::any_of(built_.begin(), built_.end(), [&](const BuiltBucket& bucket) {
      return std::any_of(bucket.request_hashes.begin(), bucket.request_hashes.end(),
                         [&](uint64_t hash) { return named.contains(hash); });
    });
  }

  // Builds again, with the events that belong to requests of other users, the buckets that have part in them.
  void rebuild_with_strays() {
    strays_ = find_strays(store_, request_.options, ranges_, num_threads_);
    find_travelling_clicks();
    std::set<int> buckets;
    for (const StrayEvent& stray : strays_) {
      if (stray.bucket >= 0) buckets.insert({stray.event_bucket, stray.bucket});
    }
    const std::vector<int> affected(buckets.begin(), buckets.end());
    base::parallel_for(num_threads_, static_cast<int64_t>(affected.size()),
                       [&](int64_t i) { build_bucket(affected[static_cast<size_t>(i)], false); });
  }

  UserSide work_on_users(const BucketLogs& logs, int bucket, const std::vector<StrayEvent>& strays) const {
    const Options& options = request_.options;
    UserSide side;
    side.native = find_native(logs, options, ranges_, bucket, strays);
    side.attribution = attribute(logs, options, ranges_, side.native, knowledge_);
    OwnQueries own_queries;
    if (options.searchify) own_queries = OwnQueries(statistics_, bucket);
    side.cross =
        collect_cross_clicks(logs, options, ranges_, side.native, side.attribution, own_queries, strays);
    return side;
  }

  // Clicks whose request is another user's: judged where their user is, searchified where the request is.
  void find_travelling_clicks() {
    const int num_buckets = store_.schema().num_buckets;
    travelling_.resize(static_cast<size_t>(num_buckets));
    std::vector<uint8_t> has_some(static_cast<size_t>(num_buckets), 0);
    for (const StrayEvent& stray : strays_) {
      if (request_.options.searchify && stray.verdict == Verdict::Native && stray.action == Action::Click &&
          stray.domain != store_.schema().search_domain)
        has_some[static_cast<size_t>(stray.event_bucket)] = 1;
    }
    std::vector<std::vector<CrossClick>> found(static_cast<size_t>(num_buckets));
    base::parallel_for(num_threads_, num_buckets, [&](int64_t bucket) {
      const auto slot = static_cast<size_t>(bucket);
      if (has_some[slot] == 0) return;
      const BucketLogs logs = load_bucket_logs(store_, ranges_, static_cast<int>(bucket));
      UserSide side = work_on_users(logs, static_cast<int>(bucket), strays_);
      for (CrossClick& click : side.cross.clicks) {
        if (click.stray >= 0) found[slot].push_back(std::move(click));
      }
    });
    for (std::vector<CrossClick>& some : found) {
      for (CrossClick& click : some) {
        const int bucket = strays_[static_cast<size_t>(click.stray)].bucket;
        travelling_[static_cast<size_t>(bucket)].push_back(std::move(click));
      }
    }
  }

  // Clicks on this bucket's requests.
  std::vector<CrossClick> arrived_clicks(const BucketLogs& logs, int bucket, CrossClickStage& cross) {
    std::vector<CrossClick> clicks;
    for (CrossClick& click : cross.clicks) {
      if (click.stray < 0) clicks.push_back(std::move(click));
    }
    if (travelling_.empty() || travelling_[static_cast<size_t>(bucket)].empty()) return clicks;
    const RequestIds ids(logs, ranges_.samples);
    for (CrossClick& click : travelling_[static_cast<size_t>(bucket)]) {
      click.request = request_of(logs, ids, strays_[static_cast<size_t>(click.stray)]);
      clicks.push_back(std::move(click));
    }
    return clicks;
  }

  void build_bucket(int bucket, bool is_first_pass) {
    const schema::LogSchema& schema = store_.schema();
    const Options& options = request_.options;
    const BucketLogs logs = load_bucket_logs(store_, ranges_, bucket);
    const EntityVersions users = load_users(store_, bucket);
    BuiltBucket& built = built_[static_cast<size_t>(bucket)];
    if (is_first_pass) {
      built.strays = collect_strays(logs, options, ranges_, bucket);
      for (const RequestRow& request : logs.requests)
        built.request_hashes.push_back(base::hash_bytes(request.request_id, 0));
    }
    const std::vector<StrayEvent>& strays = is_first_pass ? built.strays : strays_;
    UserSide side = work_on_users(logs, bucket, strays);
    EventCounts events = count_events(logs, ranges_, side.native, side.attribution, side.cross);

    Draft search = expose(logs, ranges_, schema.search_domain, side.native);
    add_unexposed(logs, options, schema.hash_seed, search);
    add_attributed(logs, options, side.attribution, search);
    CandidateItems candidate_items(logs, items_);
    CrossStage cross = searchify(logs, options, ranges_, side.native, strays, bucket,
                                 arrived_clicks(logs, bucket, side.cross), knowledge_, candidate_items);
    events.merge(cross.events);
    const Draft draft = merge(logs, std::move(search), std::move(cross.draft));
    const Histories histories = build_histories(logs, options, request_.sequences, draft);
    built.storage = write(bucket,
                          Packer(schema, request_.sequences, logs, items_, users, candidate_items,
                                 options.item_embeddings, static_cast<size_t>(request_.max_column_bytes)),
                          draft, histories);
    built.report = report_draft(draft, options, events);
    built.report.cross = cross.counts;
  }

  StorageReport write(int bucket, const Packer& packer, const Draft& draft, const Histories& histories) {
    const std::string folder = folder_of(ranges_.day, bucket);
    if (draft.rows.empty()) {
      publisher_.drop_file(folder);
      return {};
    }
    std::string path;
    {
      const std::scoped_lock lock(mutex_);
      path = publisher_.data_path(folder);
    }
    table::ParquetWriteOptions write_options;
    write_options.plain_columns = {"request_id"};
    write_options.statistics_columns = {"ts_ms", "domain"};
    table::ParquetWriter writer(path, write_options);
    std::optional<FlatSize> flat;
    if (request_.measure_flat) flat.emplace(path);
    int64_t most_rows = request_.options.row_group_requests;
    for (size_t row = 0; row < draft.rows.size();) {
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
    StorageReport storage;
    storage.list_bytes = file_size(path);
    if (flat) {
      const FlatSize::Bytes bytes = flat->finish();
      storage.flat_sorted_bytes = bytes.sorted;
      storage.flat_shuffled_bytes = bytes.shuffled;
    }
    return storage;
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
      if (ranges_.first_day <= day && day <= ranges_.last_day)
        inputs[table::day_part(day)] = store_.day_hash(day);
    }
    // Statistics may reach further back than the rest.
    for (const base::Day day : statistics_days_) inputs[table::day_part(day)] = store_.day_hash(day);
    if (const std::string& file = request_.options.query_embeddings; !file.empty())
      inputs["query_embeddings"] = base::content_hash_of_file(file);
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
    body["sample_fingerprint"] =
        sample_fingerprint(store_.schema(), request_.sequences, request_.options.item_embeddings);
    body["num_buckets"] = store_.schema().num_buckets;
    const StageReport& whole = report.counts.ladder.back();
    body["num_requests"] = whole.num_requests;
    body["num_samples"] = whole.num_samples;
    body["inputs"] = std::move(inputs);
    body["fingerprint"] = base::content_hash(json::dump(body) + rules_text());
    body["gates"] = report.gates.empty() ? "none" : has_failed(report.gates) ? "failed" : "passed";
    body["report"] = to_json(report);
    body["config"] = request_.resolved_config;
    publisher_.publish(std::move(body));
    write_reports(report);
  }

  // A day has its reports in one of two places; what stands in `failed` is of the last run.
  void write_reports(const DayReport& report) const {
    const std::string published = request_.options.samples + "/reports";
    const std::string failed = published + "/failed";
    const std::string& folder = report.is_kept_aside ? failed : published;
    base::make_directories(folder);
    const auto path = [&](const std::string& in, std::string_view ending) {
      return fmt::format("{}/{}.{}", in, table::day_part(report.day), ending);
    };
    base::write_file_atomically(path(folder, "json"), json::dump(to_json(report)) + "\n");
    base::write_file_atomically(path(folder, "txt"), to_text(report));
    base::write_file_atomically(path(folder, "html"), to_html(report));
    if (report.is_kept_aside) return;
    for (const char* ending : {"json", "txt", "html"}) {
      std::error_code error;
      std::filesystem::remove(path(failed, ending), error);
    }
  }

  const BuildRequest& request_;
  const logstore::LogStore& store_;
  const EntityVersions& items_;
  const DayRanges ranges_;
  const int num_threads_;
  const std::vector<base::Day> statistics_days_;
  const Statistics statistics_;
  const QuerySearch queries_;
  const Knowledge knowledge_;
  table::Publisher publisher_;
  std::vector<StrayEvent> strays_;
  std::vector<std::vector<CrossClick>> travelling_;  // by bucket of their request
  std::vector<BuiltBucket> built_;
  std::mutex mutex_;
};

void require_passed(const BuildRequest& request, const std::vector<DayReport>& reports) {
  std::string failed;
  for (const DayReport& report : reports) {
    if (!report.is_kept_aside) continue;
    for (const GateResult& gate : report.gates) {
      if (gate.state == GateState::Failed)
        failed += fmt::format("\n  {}: {}", base::format_day(report.day), to_text(gate));
    }
  }
  if (failed.empty()) return;
  throw base::GateError(
      fmt::format("{}: these days are not published{}\nreports: {}/reports/failed; --allow-failed-gates "
                  "publishes them",
                  request.options.samples, failed, request.options.samples));
}

}  // namespace

std::vector<DayReport> build(const BuildRequest& request,
                             const std::function<void(const DayReport&)>& on_day) {
  check(request.options);
  check(request.gates);
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
  const ItemTexts item_texts(items, store.schema().hash_seed, store.items_file().value_or(""));
  std::vector<DayReport> reports;
  for (const base::Day day : days) {
    reports.push_back(DayBuild(request, store, items, item_texts, day).run());
    if (on_day) on_day(reports.back());
  }
  require_passed(request, reports);
  return reports;
}

}  // namespace uniscale::es3
