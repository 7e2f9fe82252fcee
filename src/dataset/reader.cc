#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/threads.h"
#include "dataset/dataset.h"
#include "dataset/detail/decode_pool.h"
#include "dataset/detail/row_group.h"
#include "table/publication.h"

namespace uniscale::dataset {
namespace {

using feature::RequestBatch;

// Row groups that are shuffled together: enough to mix users and hours, little enough to hold.
constexpr size_t kShuffleWindow = 4;
constexpr int kAheadPerThread = 2;

struct DayFiles {
  base::Day day;
  std::vector<std::string> paths;  // one a bucket, by name
  std::string fingerprint;
  int64_t num_requests = 0;
};

base::Day parse_bound(const std::string& text, const char* key) {
  const auto day = base::parse_day(text);
  US_REQUIRE(day.has_value(),
             fmt::format("dataset.{}: expected a day like \"2026-03-01\", got \"{}\"", key, text));
  return *day;
}

std::vector<DayFiles> find_days(const Options& options) {
  US_REQUIRE(!options.samples.empty(), "dataset.samples: expected the folder of a sample set, got nothing");
  const auto parts = table::list_parts(options.samples, "dt=");
  US_REQUIRE(!parts.empty(),
             fmt::format("{}: no sample set here (expected manifests/dt=….json)", options.samples));
  std::vector<DayFiles> days;
  for (const std::string& part : parts) {
    const auto day = base::parse_day(std::string_view(part).substr(3));
    if (!day) continue;
    if (!options.from.empty() && *day < parse_bound(options.from, "from")) continue;
    if (!options.to.empty() && *day > parse_bound(options.to, "to")) continue;
    const auto publication = table::read_publication(options.samples, part);
    DayFiles files{.day = *day};
    base::ContentHasher hasher;
    for (const table::PublishedFile& file : publication->files) {
      files.paths.push_back(options.samples + "/" + file.path);
      files.num_requests += file.num_rows;
      hasher.update(file.hash);
    }
    files.fingerprint = hasher.hex_digest();
    days.push_back(std::move(files));
  }
  const auto require_bound = [&](const std::string& bound, const char* key) {
    if (bound.empty()) return;
    const base::Day day = parse_bound(bound, key);
    const bool found = std::any_of(days.begin(), days.end(), [&](const DayFiles& d) { return d.day == day; });
    if (!found)
      throw base::NotReadyError(
          fmt::format("{}: day {} (dataset.{}) was not built", options.samples, bound, key));
  };
  require_bound(options.from, "from");
  require_bound(options.to, "to");
  US_REQUIRE(!days.empty(), fmt::format("{}: no day between dataset.from {} and dataset.to {}",
                                        options.samples, options.from, options.to));
  for (size_t i = 1; i < days.size(); ++i) {
    if (days[i].day.number != days[i - 1].day.number + 1) {
      throw base::NotReadyError(
          fmt::format("{}: day {} is missing", options.samples, base::format_day(days[i - 1].day.plus(1))));
    }
  }
  return days;
}

}  // namespace

json::Value Cursor::to_json() const { return {{"epoch", epoch}, {"row", row}}; }

Cursor Cursor::from_json(const json::Value& value, std::string_view where) {
  Cursor cursor{json::int_member(value, "epoch", where), json::int_member(value, "row", where)};
  US_REQUIRE(cursor.epoch >= 0 && cursor.row >= 0, fmt::format("{}: cursor: expected numbers ≥ 0", where));
  return cursor;
}

SampleSet describe(const Options& options) {
  SampleSet set;
  base::ContentHasher hasher;
  for (const DayFiles& day : find_days(options)) {
    set.days.push_back(day.day);
    set.num_requests += day.num_requests;
    hasher.update(day.fingerprint);
  }
  set.fingerprint = hasher.hex_digest();
  return set;
}

struct Reader::Impl {
  // A sample file in the order of its row groups. A merge by time needs the current group of every file; the
  // next one is decoded ahead while the current one is consumed, kAheadPerThread of them a thread at the
  // most.
  struct Stream {
    std::string path;
    std::shared_ptr<const table::ParquetReader> reader;
    int next_group = 0;
    std::shared_ptr<const RowGroup> group;
    GroupFuture ahead;
    bool is_ahead = false;  // asked for before it was needed
    int64_t row = 0;
    int64_t last_ts_ms = std::numeric_limits<int64_t>::min();
  };
  // Row groups of a shuffled epoch.
  struct GroupRef {
    std::string path;
    int row_group;
  };

  Impl(Options reader_options, const feature::FeatureSpec& feature_spec, Cursor start)
      : options(std::move(reader_options)),
        spec(feature_spec),
        filters(options),
        days(find_days(options)),
        cursor(start),
        pool(base::resolve_num_threads(options.threads)) {
    begin_epoch();
  }

  std::shared_ptr<const table::ParquetReader> open(const std::string& path) {
    return std::make_shared<const table::ParquetReader>(path);
  }

  GroupFuture decode(std::shared_ptr<const table::ParquetReader> reader, std::string path, int row_group) {
    return pool.submit([this, reader = std::move(reader), path = std::move(path), row_group] {
      return std::shared_ptr<const RowGroup>(
          std::make_shared<RowGroup>(read_row_group(*reader, path, row_group, spec, filters)));
    });
  }

  void begin_epoch() {
    if (options.order == "shuffled") {
      begin_shuffled();
    } else {
      begin_time();
    }
  }

  // --- Time order: a merge of the day's bucket files by (ts_ms, request_id). ---

  void begin_time() {
    next_day = 0;
    streams.clear();
    num_ahead = 0;
    int64_t left = cursor.row;
    // Whole days before the cursor are counted, not decoded.
    while (left > 0 && next_day < days.size()) {
      int64_t kept = 0;
      for (const std::string& path : days[next_day].paths) {
        const auto reader = open(path);
        for (int g = 0; g < reader->num_row_groups(); ++g) kept += count_kept(*reader, path, g, filters);
      }
      if (kept > left) break;
      left -= kept;
      ++next_day;
    }
    for (; left > 0; --left) {
      US_REQUIRE(peek() != nullptr, fmt::format("{}: the cursor stands at request {}, but there are fewer",
                                                options.samples, cursor.row));
      advance();
    }
  }

  bool open_day() {
    if (next_day == days.size()) return false;
    streams.clear();
    for (const std::string& path : days[next_day].paths) {
      Stream stream{.path = path, .reader = open(path)};
      if (stream.reader->num_row_groups() > 0) stream.ahead = decode(stream.reader, path, 0);
      stream.next_group = 1;
      streams.push_back(std::move(stream));
    }
    ++next_day;
    return true;
  }

  // Moves `stream` to its next kept row; false at its end.
  bool settle(Stream& stream) {
    for (;;) {
      if (stream.group) {
        while (stream.row < stream.group->num_rows() && stream.group->num_kept(stream.row) == 0) ++stream.row;
        // Late enough to bound the memory, early enough to hide the decoding.
        if (!stream.ahead.valid() && stream.row * 2 >= stream.group->num_rows() &&
            stream.next_group < stream.reader->num_row_groups() &&
            num_ahead < kAheadPerThread * pool.num_threads()) {
          stream.ahead = decode(stream.reader, stream.path, stream.next_group++);
          stream.is_ahead = true;
          ++num_ahead;
        }
        if (stream.row < stream.group->num_rows()) {
          const int64_t ts_ms = stream.group->batch.ts_ms[static_cast<size_t>(stream.row)];
          US_REQUIRE(ts_ms >= stream.last_ts_ms,
                     fmt::format("{}: rows are not sorted by ts_ms", stream.path));
          stream.last_ts_ms = ts_ms;
          return true;
        }
        stream.group.reset();
      }
      if (!stream.ahead.valid()) {
        if (stream.next_group >= stream.reader->num_row_groups()) return false;
        stream.ahead = decode(stream.reader, stream.path, stream.next_group++);
      }
      stream.group = stream.ahead.get();
      if (std::exchange(stream.is_ahead, false)) --num_ahead;
      stream.row = 0;
    }
  }

  Stream* peek_time() {
    for (;;) {
      Stream* best = nullptr;
      for (Stream& stream : streams) {
        if (!settle(stream)) continue;
        if (best == nullptr || before(stream, *best)) best = &stream;
      }
      if (best != nullptr) return best;
      if (!open_day()) return nullptr;
    }
  }

  static bool before(const Stream& a, const Stream& b) {
    const int64_t ta = a.group->batch.ts_ms[static_cast<size_t>(a.row)],
                  tb = b.group->batch.ts_ms[static_cast<size_t>(b.row)];
    if (ta != tb) return ta < tb;
    return a.group->request_id[static_cast<size_t>(a.row)] < b.group->request_id[static_cast<size_t>(b.row)];
  }

  // --- Shuffled: row groups in seeded order, rows shuffled inside a window of groups. ---

  void begin_shuffled() {
    groups.clear();
    readers.clear();
    next_group = 0;
    window.clear();
    window_rows.clear();
    window_row = 0;
    for (const DayFiles& day : days) {
      for (const std::string& path : day.paths) {
        readers[path] = open(path);
        for (int g = 0; g < readers[path]->num_row_groups(); ++g) groups.push_back({path, g});
      }
    }
    base::RandomStream random(static_cast<uint64_t>(options.seed), static_cast<uint64_t>(cursor.epoch));
    for (size_t i = groups.size(); i > 1; --i) std::swap(groups[i - 1], groups[random.below(i)]);
    int64_t left = cursor.row;
    while (left > 0 && next_group < groups.size()) {
      int64_t kept = 0;
      const size_t end = std::min(next_group + kShuffleWindow, groups.size());
      for (size_t g = next_group; g < end; ++g)
        kept += count_kept(*readers[groups[g].path], groups[g].path, groups[g].row_group, filters);
      if (kept > left) break;
      left -= kept;
      next_group = end;
    }
    for (; left > 0; --left) {
      US_REQUIRE(peek() != nullptr, fmt::format("{}: the cursor stands at request {}, but there are fewer",
                                                options.samples, cursor.row));
      advance();
    }
  }

  void start_window() {
    const size_t end = std::min(next_group + kShuffleWindow, groups.size());
    for (size_t g = next_group; g < end; ++g) {
      window_ahead.push_back(decode(readers[groups[g].path], groups[g].path, groups[g].row_group));
    }
    window_ahead_begin = next_group;
    next_group = end;
  }

  bool fill_window() {
    window.clear();
    window_rows.clear();
    window_row = 0;
    if (window_ahead.empty()) start_window();
    if (window_ahead.empty()) return false;
    for (auto& pending : window_ahead) window.push_back(pending.get());
    window_ahead.clear();
    const size_t begin = window_ahead_begin;
    start_window();
    for (size_t w = 0; w < window.size(); ++w) {
      for (int64_t row = 0; row < window[w]->num_rows(); ++row) {
        if (window[w]->num_kept(row) > 0) window_rows.push_back({w, row});
      }
    }
    base::RandomStream random(static_cast<uint64_t>(options.seed) + 1, static_cast<uint64_t>(cursor.epoch),
                              begin);
    for (size_t i = window_rows.size(); i > 1; --i)
      std::swap(window_rows[i - 1], window_rows[random.below(i)]);
    return true;
  }

  // --- Either order: the row that comes next, null at the end of the epoch. ---

  struct Next {
    const RowGroup* group;
    int64_t row;
  };

  const Next* peek() {
    if (has_next) return &next;
    if (options.order == "shuffled") {
      while (window_row == window_rows.size()) {
        if (!fill_window()) return nullptr;
      }
      const auto [w, row] = window_rows[window_row];
      next = {window[w].get(), row};
    } else {
      current = peek_time();
      if (current == nullptr) return nullptr;
      next = {current->group.get(), current->row};
    }
    has_next = true;
    return &next;
  }

  void advance() {
    has_next = false;
    if (options.order == "shuffled") {
      ++window_row;
    } else {
      ++current->row;
    }
  }

  Options options;
  const feature::FeatureSpec& spec;
  Filters filters;
  std::vector<DayFiles> days;
  Cursor cursor;
  bool has_next = false;
  Next next{};

  size_t next_day = 0;
  std::vector<Stream> streams;
  int num_ahead = 0;
  Stream* current = nullptr;

  std::map<std::string, std::shared_ptr<const table::ParquetReader>> readers;
  std::vector<GroupRef> groups;
  size_t next_group = 0;
  std::vector<std::shared_ptr<const RowGroup>> window;
  std::vector<GroupFuture> window_ahead;
  size_t window_ahead_begin = 0;
  std::vector<std::pair<size_t, int64_t>> window_rows;
  size_t window_row = 0;

  DecodePool pool;  // last: its threads read the members above and end first
};

Reader::Reader(Options options, const feature::FeatureSpec& spec, Cursor start)
    : impl_(std::make_unique<Impl>(std::move(options), spec, start)) {}
Reader::~Reader() = default;

bool Reader::next(RequestBatch& batch) {
  clear_batch(impl_->spec, batch);
  while (const Impl::Next* next = impl_->peek()) {
    const int64_t size = next->group->num_kept(next->row);
    if (batch.num_requests > 0 && batch.num_candidates() + size > impl_->options.batch_candidates)
      return true;
    append_request(*next->group, next->row, impl_->spec, batch);
    impl_->advance();
    ++impl_->cursor.row;
  }
  if (batch.num_requests > 0) return true;
  impl_->cursor = {impl_->cursor.epoch + 1, 0};
  impl_->begin_epoch();
  return false;
}

Cursor Reader::cursor() const { return impl_->cursor; }

void fit_statistics(const Options& options, feature::FeatureSpec& spec, int64_t max_requests) {
  std::vector<int> fitted;
  for (size_t f = 0; f < spec.features().size(); ++f) {
    const feature::Feature& feature = spec.features()[f];
    if (feature.transform != "standardise" && feature.transform != "log_standardise") continue;
    fitted.push_back(static_cast<int>(f));
    spec.set_statistics(static_cast<int>(f), 0.0, 1.0);
  }
  if (fitted.empty()) return;
  struct Sums {
    int64_t count = 0;
    double mean = 0, squares = 0;  // Welford: stable for prices in the millions
  };
  std::vector<Sums> sums(fitted.size());
  Options in_time = options;
  in_time.order = "time";
  Reader reader(in_time, spec);
  RequestBatch batch;
  for (int64_t requests = 0; requests < max_requests && reader.next(batch); requests += batch.num_requests) {
    for (size_t i = 0; i < fitted.size(); ++i) {
      const feature::Feature& feature = spec.features()[static_cast<size_t>(fitted[i])];
      const auto& values = batch.floats[static_cast<size_t>(feature.slot)].values;
      // Not beyond max_requests, whatever the size of the batches.
      const auto kept = static_cast<size_t>(std::min<int64_t>(max_requests - requests, batch.num_requests));
      const size_t rows =
          feature.side == feature::Side::Request ? kept : static_cast<size_t>(batch.candidate_offsets[kept]);
      for (size_t v = 0; v < 2 * rows; v += 2) {
        if (values[v + 1] != 0.0F) continue;
        Sums& sum = sums[i];
        ++sum.count;
        const double delta = values[v] - sum.mean;
        sum.mean += delta / static_cast<double>(sum.count);
        sum.squares += delta * (values[v] - sum.mean);
      }
    }
  }
  for (size_t i = 0; i < fitted.size(); ++i) {
    const double variance = sums[i].count > 0 ? sums[i].squares / static_cast<double>(sums[i].count) : 0.0;
    spec.set_statistics(fitted[i], sums[i].mean, std::sqrt(variance));
  }
}

}  // namespace uniscale::dataset
