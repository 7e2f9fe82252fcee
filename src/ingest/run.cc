// The three stages: read and validate into partitions by id; clean a partition at a time into buckets of
// days; sort and write a bucket at a time, publish a day at a time.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/threads.h"
#include "ingest/clean.h"
#include "ingest/convert.h"
#include "ingest/entities.h"
#include "ingest/ingest.h"
#include "ingest/quarantine.h"
#include "ingest/sorted_records.h"
#include "ingest/spill.h"
#include "ingest/ubi.h"
#include "logstore/logstore.h"

namespace uniscale::ingest {
namespace {

constexpr size_t kMaxDays = 3660;
// Ends a row group early: texts of a column are counted in 31 bits, and lists may hold 10,000 candidates.
constexpr size_t kGroupBytes = size_t{256} << 20;

constexpr std::array<char, 3> kKinds = {'r', 'c', 'e'};  // requests, loose candidates, events

using TableSink = std::function<void(const table::Table&)>;

// The order of rows in a bucket of the store.
struct RequestKey {
  explicit RequestKey(std::string_view record) : bytes(record) {
    RecordReader in(record);
    request_id = in.text();
    domain = in.text();
    user_id = in.text();
    in.text();
    ts_ms = in.value<int64_t>();
  }
  bool operator<(const RequestKey& other) const {
    return std::tie(user_id, ts_ms, domain, request_id, bytes) <
           std::tie(other.user_id, other.ts_ms, other.domain, other.request_id, other.bytes);
  }
  std::string_view user_id, domain, request_id, bytes;
  int64_t ts_ms = 0;
};
struct EventKey {
  explicit EventKey(std::string_view record) : bytes(record) {
    const logstore::Event event = read_event(record).event;
    user_id = event.user_id;
    event_id = event.event_id;
    ts_ms = event.ts_ms;
  }
  bool operator<(const EventKey& other) const {
    return std::tie(user_id, ts_ms, event_id, bytes) <
           std::tie(other.user_id, other.ts_ms, other.event_id, other.bytes);
  }
  std::string_view user_id, event_id, bytes;
  int64_t ts_ms = 0;
};

struct InputFile {
  size_t source = 0;
  std::string path;
  std::string format;  // never "auto"
  config::StringMap constants;
  std::string quarantine;
  std::string hash;
  int64_t num_rows = 0, num_rejected = 0;
  bool is_skipped = false;
};

// "dt=2026-03-01" components of the path below the source's folder.
config::StringMap hive_constants(const std::string& path, const std::string& root) {
  config::StringMap out;
  std::string_view rest = std::string_view(path).substr(std::min(root.size(), path.size()));
  while (true) {
    const size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return out;
    const std::string_view part = rest.substr(0, slash);
    if (const size_t eq = part.find('='); eq != std::string_view::npos && eq > 0)
      out[std::string(part.substr(0, eq))] = std::string(part.substr(eq + 1));
    rest.remove_prefix(slash + 1);
  }
}

// The format of a file: the source's, or with "auto" what the file's name says.
std::string format_of(const std::string& path, const SourceOptions& source) {
  if (source.format != "auto") return source.format;
  std::string_view name = path;
  bool is_packed = false;
  for (const std::string_view packed : {".gz", ".zst"}) {
    if (is_packed || !name.ends_with(packed)) continue;
    name.remove_suffix(packed.size());
    is_packed = true;
  }
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kBySuffix = {
      {{".parquet", "parquet"},
       {".csv", "csv"},
       {".tsv", "tsv"},
       {".ndjson", "ndjson"},
       {".jsonl", "ndjson"},
       {".json", "ndjson"}}};
  for (const auto& [suffix, format] : kBySuffix)
    if (name.ends_with(suffix) && !(is_packed && format == "parquet")) return std::string(format);
  throw base::UserError(fmt::format(
      "source \"{}\": {}: expected a name that ends in .parquet, or in .csv, .tsv, .ndjson, .jsonl "
      "or .json with or without .gz or .zst; for other names set the source's format",
      source.name, path));
}

std::vector<InputFile> list_inputs(const std::vector<SourceOptions>& sources, const SpillFolder& folder) {
  const std::string quarantine = folder.make("quarantine");
  std::vector<InputFile> out;
  for (size_t s = 0; s < sources.size(); ++s) {
    const std::string& path = sources[s].path;
    US_REQUIRE(base::file_exists(path),
               fmt::format("source \"{}\": {}: no such file or folder", sources[s].name, path));
    std::vector<std::string> files{path};
    if (std::filesystem::is_directory(path)) files = base::list_files(path);
    US_REQUIRE(!files.empty(),
               fmt::format("source \"{}\": {}: no files in this folder", sources[s].name, path));
    for (const std::string& file : files) {
      out.push_back({.source = s,
                     .path = file,
                     .format = format_of(file, sources[s]),
                     .constants = hive_constants(file, path),
                     .quarantine = fmt::format("{}/{}", quarantine, out.size()),
                     .hash = {}});
    }
  }
  return out;
}

class Run {
 public:
  Run(const Options& options, const std::vector<SourceOptions>& sources, const schema::LogSchema& schema,
      int threads, const Progress& progress)
      : options_(options),
        sources_(sources),
        schema_(schema),
        threads_(threads),
        progress_(progress),
        folder_(options.store),
        raw_(folder_.make("raw")),
        clean_(folder_.make("clean")),
        files_(list_inputs(sources, folder_)) {}

  Report run(const std::string& resolved_config) {
    report_.store = options_.store;
    read_all();
    publish_quarantines();
    const double share = report_.num_rows() == 0 ? 0.0
                                                 : static_cast<double>(report_.num_rejected()) /
                                                       static_cast<double>(report_.num_rows());
    if (share > options_.max_reject_share) {
      throw base::GateError(fmt::format(
          "ingest.max_reject_share: expected at most {}, got {:.4f} ({} of {} rows); "
          "nothing was published; see {}",
          options_.max_reject_share, share, report_.num_rejected(), report_.num_rows(), quarantine_folder()));
    }
    raw_.flush();
    base::parallel_for(threads_, options_.partitions, [&](int64_t p) { clean_partition(p); });
    clean_.flush();
    json::Value body = json::Value::object();
    json::Value inputs = json::Value::array();
    for (const InputFile& file : files_)
      inputs.push_back({{"source", sources_[file.source].name},
                        {"file", file.path},
                        {"hash", file.hash},
                        {"rows", file.num_rows},
                        {"rejected", file.num_rejected}});
    body["inputs"] = std::move(inputs);
    body["config"] = resolved_config;
    publish_entities(options_, schema_, raw_, body, report_);
    known_items_ = known_items(options_.store);
    // A day that was asked for is replaced even if nothing happened in it; without a source of requests or
    // events the run says nothing about days.
    const bool has_day_rows = std::any_of(sources_.begin(), sources_.end(), [](const SourceOptions& source) {
      return source.format == "ubi" || (source.table != "items" && source.table != "users");
    });
    if (!options_.dt.empty() && has_day_rows) days_.insert(base::parse_day(options_.dt)->number);
    for (const int32_t number : days_) publish_day(base::Day{number}, body);
    base::write_file_atomically(fmt::format("{}/ingest-{}.json", ensure(options_.store + "/reports"),
                                            options_.dt.empty() ? "all" : options_.dt),
                                json::dump(report_.to_json()) + "\n");
    return std::move(report_);
  }

 private:
  static std::string ensure(const std::string& path) {
    base::make_directories(path);
    return path;
  }
  std::string quarantine_folder() const {
    return options_.quarantine.empty() ? options_.store + "/quarantine" : options_.quarantine;
  }
  void count(std::map<std::string, int64_t>& counts, std::string_view rule, int64_t by = 1) {
    const std::lock_guard lock(mutex_);
    counts[std::string(rule)] += by;
  }

  void read_all() {
    base::parallel_for(threads_, static_cast<int64_t>(files_.size()),
                       [&](int64_t i) { read_one(files_[static_cast<size_t>(i)]); });
    report_.sources.resize(sources_.size());
    for (size_t s = 0; s < sources_.size(); ++s) report_.sources[s].name = sources_[s].name;
    for (const InputFile& file : files_) {
      SourceReport& source = report_.sources[file.source];
      ++source.num_files;
      source.num_rows += file.num_rows;
      source.num_rejected += file.num_rejected;
    }
  }

  void read_one(InputFile& file) {
    const SourceOptions& source = sources_[file.source];
    file.hash = base::content_hash_of_file(file.path);
    std::map<std::string, int64_t> rejected, repaired, cleaned;
    QuarantineFile quarantine(file.quarantine, file.path);
    // A file that may turn out broken at its end must leave no rows: its records wait in a spill of their
    // own.
    const auto bump = [](std::map<std::string, int64_t>& counts) {
      return [&counts](std::string_view rule) { ++counts[std::string(rule)]; };
    };
    const auto reject = [&](int64_t row, std::string_view column, std::string_view reason,
                            std::string_view message, std::string_view raw) {
      ++file.num_rows;
      ++file.num_rejected;
      ++rejected[std::string(reason)];
      quarantine.add(row, column, reason, message, raw);
    };
    const bool whole = options_.skip_bad_files();
    std::vector<std::string> keys;
    const std::string aside = fmt::format("aside-{}", &file - files_.data());
    const Emit emit = [&](RecordKind kind, std::string_view key, std::string_view bytes) {
      const std::string place = place_of(kind, key);
      if (!whole) {
        raw_.append(place, bytes);
        return;
      }
      RecordWriter out;
      out.text(place);
      out.fixed(bytes.data(), bytes.size());
      raw_.append(aside, out.bytes());
    };
    RowVisitor visitor{.row = {},
                       .bad = [&](int64_t row, std::string_view reason, std::string_view message,
                                  std::string_view raw) { reject(row, "", reason, message, raw); },
                       .repaired = bump(repaired)};
    try {
      if (file.format == "ubi") {
        read_ubi(
            file.path, source, schema_, options_, visitor,
            [&](RecordKind kind, std::string_view key, std::string_view bytes) {
              ++file.num_rows;
              emit(kind, key, bytes);
            },
            [&](std::string_view rule) {
              ++file.num_rows;
              ++cleaned[std::string(rule)];
            });
      } else {
        const Layout layout = make_layout(table_kind(source.table), source, schema_);
        Converter converter(layout, source, emit, visitor.repaired);
        visitor.row = [&](const RawRow& row) {
          try {
            converter.convert(row);
            ++file.num_rows;
          } catch (const Rejection& rejection) {
            reject(row.number, rejection.column, rejection.reason, rejection.message, row.raw);
          }
        };
        if (file.format == "parquet") read_parquet(file.path, layout, file.constants, options_, visitor);
        if (file.format == "csv") read_delimited(file.path, ',', layout, file.constants, options_, visitor);
        if (file.format == "tsv") read_delimited(file.path, '\t', layout, file.constants, options_, visitor);
        if (file.format == "ndjson") read_ndjson(file.path, layout, file.constants, options_, visitor);
      }
    } catch (const base::UserError& error) {
      if (!whole) throw;
      if (progress_) {
        const std::lock_guard lock(mutex_);
        progress_(fmt::format("skipped: {}", base::full_message(error)));
      }
      raw_.remove(aside);
      file.is_skipped = true;
      file.num_rows = file.num_rejected = 0;
      count(report_.rejected, "bad_file");
      return;
    }
    quarantine.close();
    if (whole) {
      raw_.flush();
      SpillCursor records(raw_, aside);
      while (const auto record = records.next()) {
        RecordReader in(*record);
        const std::string place(in.text());
        raw_.append(place, record->substr(5 + place.size()));
      }
      raw_.remove(aside);
    }
    for (const auto& [rule, by] : rejected) count(report_.rejected, rule, by);
    for (const auto& [rule, by] : repaired) count(report_.repaired, rule, by);
    for (const auto& [rule, by] : cleaned) count(report_.cleaned, rule, by);
    if (progress_) {
      const std::lock_guard lock(mutex_);
      progress_(fmt::format("{}: {} rows, {} rejected", file.path, file.num_rows, file.num_rejected));
    }
  }

  std::string place_of(RecordKind kind, std::string_view key) const {
    if (kind == RecordKind::Item) return kItemsKey;
    if (kind == RecordKind::User)
      return users_key(base::bucket_of_user(key, schema_.num_buckets, schema_.hash_seed));
    const uint64_t part = base::hash_bytes(key, 0) % static_cast<uint64_t>(options_.partitions);
    return fmt::format("{}-{}",
                       kind == RecordKind::Request ? 'r' : (kind == RecordKind::Candidate ? 'c' : 'e'), part);
  }

  void publish_quarantines() {
    const std::string folder = ensure(quarantine_folder());
    for (size_t s = 0; s < sources_.size(); ++s) {
      std::vector<std::string> parts;
      for (const InputFile& file : files_) {
        if (file.source == s && !file.is_skipped) parts.push_back(file.quarantine);
      }
      publish_quarantine(fmt::format("{}/{}.ndjson", folder, sources_[s].name), parts);
    }
  }

  // The day's spill key, or "" for a day that is not asked for.
  std::string bucket_key(char kind, int64_t ts_ms, std::string_view user_id) {
    const base::Day day = base::day_of(ts_ms);
    if (!options_.dt.empty() && base::format_day(day) != options_.dt) return {};
    {
      const std::lock_guard lock(mutex_);
      days_.insert(day.number);
      US_REQUIRE(
          days_.size() <= kMaxDays,
          fmt::format("the rows lie on more than {} days: set ingest.dt, or check the sources' time units",
                      kMaxDays));
    }
    return fmt::format("{}-{}-{}", kind, day.number,
                       base::bucket_of_user(user_id, schema_.num_buckets, schema_.hash_seed));
  }

  // Requests, loose candidates and events of a part lie in the spills r-<name>, c-<name>, e-<name>.
  static std::string key_of(char kind, const std::string& name) { return fmt::format("{}-{}", kind, name); }

  void clean_partition(int64_t p) {
    const std::string name = fmt::format("{}", p);
    int64_t bytes = 0;
    for (const char kind : kKinds) bytes += raw_.bytes(key_of(kind, name));
    const int64_t parts = (bytes + options_.task_bytes - 1) / options_.task_bytes;
    if (parts <= 1) return clean_part(name);
    // Cut again by another hash of the same id.
    std::vector<std::string> names;
    for (int64_t part = 0; part < parts; ++part) names.push_back(fmt::format("{}-{}", name, part));
    for (const char kind : kKinds) {
      SpillCursor records(raw_, key_of(kind, name));
      while (const auto record = records.next()) {
        const uint64_t part =
            base::hash_bytes(RecordReader(*record).text(), 1) % static_cast<uint64_t>(parts);
        raw_.append(key_of(kind, names[part]), *record);
      }
      raw_.remove(key_of(kind, name));
    }
    raw_.flush();
    for (const std::string& part : names) clean_part(part);
  }

  void clean_part(const std::string& name) {
    const CleanRules rules{options_.id_window.ms, options_.page_window.ms};
    std::map<std::string, int64_t> cleaned;
    const Count counter = [&](std::string_view rule) { ++cleaned[std::string(rule)]; };
    RecordWriter out;
    {
      const std::string r = raw_.load(key_of('r', name)), c = raw_.load(key_of('c', name));
      clean_requests(split_records(r), split_records(c), rules, counter, [&](const RequestRecord& request) {
        const std::string key = bucket_key('r', request.ts_ms, request.user_id);
        if (key.empty()) {
          counter("other_day");
          return;
        }
        out.clear();
        write_request(out, request);
        clean_.append(key, out.bytes());
      });
    }
    const std::string e = raw_.load(key_of('e', name));
    clean_events(split_records(e), rules, counter, [&](const EventRecord& event) {
      const std::string key = bucket_key('e', event.event.ts_ms, event.event.user_id);
      key.empty() ? counter("other_day") : clean_.append(key, event.bytes);
    });
    for (const char kind : kKinds) raw_.remove(key_of(kind, name));
    for (const auto& [rule, by] : cleaned) count(report_.cleaned, rule, by);
  }

  void publish_day(base::Day day, json::Value body) {
    logstore::DayWriter writer(options_.store, schema_, day);
    std::atomic<int64_t> requests{0}, candidates{0}, events{0}, unknown{0};
    base::parallel_for(threads_, schema_.num_buckets, [&](int64_t bucket) {
      const std::string key = fmt::format("{}-{}", day.number, bucket);
      writer.write_bucket_from(
          static_cast<int>(bucket),
          [&](const TableSink& sink) { write_requests("r-" + key, sink, requests, candidates, unknown); },
          [&](const TableSink& sink) { write_events("e-" + key, sink, events); });
      clean_.remove("r-" + key);
      clean_.remove("e-" + key);
    });
    body["counts"] = {
        {"requests", requests.load()}, {"candidates", candidates.load()}, {"events", events.load()}};
    body["rejected"] = report_.rejected;
    body["repaired"] = report_.repaired;
    body["cleaned"] = report_.cleaned;
    writer.publish(std::move(body));
    report_.days.push_back(base::format_day(day));
    report_.num_requests += requests;
    report_.num_candidates += candidates;
    report_.num_events += events;
    if (unknown > 0) report_.repaired["unknown_item_kept"] += unknown;
    const bool is_empty = requests == 0 && events == 0;
    if (is_empty) report_.empty_days.push_back(report_.days.back());
    if (progress_)
      progress_(
          fmt::format("published {}{}", report_.days.back(), is_empty ? ": no rows, an empty day" : ""));
  }

  void write_requests(const std::string& spilled, const TableSink& sink, std::atomic<int64_t>& requests,
                      std::atomic<int64_t>& candidates, std::atomic<int64_t>& unknown) {
    logstore::RequestsBuilder builder(schema_);
    size_t group_bytes = 0;
    const auto finish = [&] {
      requests += builder.num_rows();
      candidates += builder.num_candidates();
      group_bytes = 0;
      if (builder.num_rows() > 0) sink(builder.finish());
    };
    for_each_sorted<RequestKey>(clean_, spilled, options_.task_bytes, [&](const RequestKey& row) {
      const RequestRecord request = read_request(row.bytes);
      builder.begin(request.request_id, request.domain, request.user_id, request.ts_ms, request.query,
                    read_features(request.context, schema_.context));
      for (const CandidateRecord& one : request.candidates) {
        builder.candidate(
            {one.item_id, one.position, one.score, read_features(one.features, schema_.candidate)});
        if (!known_items_.empty() &&
            !std::binary_search(known_items_.begin(), known_items_.end(), base::hash_bytes(one.item_id, 0)))
          ++unknown;
      }
      group_bytes += row.bytes.size();
      if (builder.num_rows() >= logstore::kRowGroupRows || group_bytes >= kGroupBytes) finish();
    });
    finish();
  }

  void write_events(const std::string& spilled, const TableSink& sink, std::atomic<int64_t>& events) {
    logstore::EventsBuilder builder;
    const auto finish = [&] {
      events += builder.num_rows();
      if (builder.num_rows() > 0) sink(builder.finish());
    };
    for_each_sorted<EventKey>(clean_, spilled, options_.task_bytes, [&](const EventKey& row) {
      builder.push(read_event(row.bytes).event);
      if (builder.num_rows() >= 16 * logstore::kRowGroupRows) finish();
    });
    finish();
  }

  const Options& options_;
  const std::vector<SourceOptions>& sources_;
  const schema::LogSchema& schema_;
  int threads_;
  const Progress& progress_;
  SpillFolder folder_;
  Spill raw_, clean_;
  std::vector<InputFile> files_;
  std::mutex mutex_;
  std::set<int32_t> days_;
  std::vector<uint64_t> known_items_;
  Report report_;
};

}  // namespace

Report run(const Options& options, const std::vector<SourceOptions>& sources, const schema::LogSchema& schema,
           const std::string& resolved_config, int threads, const Progress& progress) {
  check_options(options, sources);
  for (const SourceOptions& source : sources) {
    US_REQUIRE(base::is_plain_name(source.name),
               fmt::format("source \"{}\": name: expected one plain file name", source.name));
    if (source.format != "ubi") make_layout(table_kind(source.table), source, schema);
  }
  logstore::create_or_check_store(options.store, schema);
  return Run(options, sources, schema, threads, progress).run(resolved_config);
}

}  // namespace uniscale::ingest
