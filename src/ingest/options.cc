#include "ingest/options.h"

#include <fmt/format.h>

#include <set>

#include "base/error.h"

namespace uniscale::ingest {

const config::Section<Options>& section() {
  static const auto built =
      config::Section<Options>("ingest", "Raw logs into the log store")
          .field("store", &Options::store, "folder of the log store to write")
          .field("quarantine", &Options::quarantine, "folder of the rejected rows; empty: <store>/quarantine")
          .field("dt", &Options::dt, "the one UTC day to publish, YYYY-MM-DD; empty: every day found",
                 {.source = "es3.md §0"})
          .field("id_window", &Options::id_window,
                 "copies of an event_id or request_id this close are the same event or request",
                 {.min = 0, .max = 30.0 * base::kDayMs, .source = "es3.md §0"})
          .field("page_window", &Options::page_window,
                 "rows of a request_id at most this long after its first are its pages",
                 {.min = 0, .max = 30.0 * base::kDayMs, .source = "es3.md §0"})
          .field("on_bad_file", &Options::on_bad_file,
                 "a file that cannot be read at all stops the run, or is skipped and counted",
                 {.choices = {"stop", "skip"}})
          .field("max_reject_share", &Options::max_reject_share,
                 "a larger share of rejected rows publishes nothing and ends with exit code 4",
                 {.min = 0, .max = 1})
          .field("batch_rows", &Options::batch_rows, "rows of a Parquet file read at once",
                 {.min = 1, .max = 1 << 20, .unit = "rows"})
          .field("max_row_bytes", &Options::max_row_bytes, "a longer CSV record or NDJSON line is rejected",
                 {.min = 1024, .max = 1 << 30, .unit = "bytes"})
          .field("partitions", &Options::partitions,
                 "parts into which rows are cut by their id; a part of more than task_bytes is cut again",
                 {.min = 1, .max = 512})
          .field("task_bytes", &Options::task_bytes,
                 "rows that one thread joins or sorts in memory; more are cut, or sorted through files",
                 {.min = 1024, .max = 68719476736.0, .unit = "bytes"});
  return built;
}

const config::ArraySection<SourceOptions>& source_section() {
  static const auto built =
      config::ArraySection<SourceOptions>("source", "A kind of raw file and how its columns are called")
          .field("name", &SourceOptions::name, "name in reports and in the quarantine", {.required = true})
          .field("table", &SourceOptions::table, "what a row is; format ubi holds both kinds",
                 {.choices = {"requests", "candidates", "events", "items", "users"}, .source = "es3.md §0"})
          .field("format", &SourceOptions::format,
                 "how it is written; auto: as the name ends, .parquet, .csv, .tsv, .ndjson, .jsonl or .json; "
                 ".gz and "
                 ".zst are opened for all but parquet",
                 {.choices = {"auto", "parquet", "csv", "tsv", "ndjson", "ubi"}})
          .field("path", &SourceOptions::path, "a file, or a folder read recursively in order of its paths",
                 {.required = true})
          .field("columns", &SourceOptions::columns, "our column = \"their column\", where the names differ")
          .field("actions", &SourceOptions::actions, "their action = \"our action\"; others keep their names")
          .field("domain", &SourceOptions::domain,
                 "domain of rows that have none; empty: such rows are rejected")
          .field("time", &SourceOptions::time,
                 "how times are written; auto: ISO text, or epoch milliseconds as number or digits",
                 {.choices = {"auto", "iso", "s", "ms", "us"}});
  return built;
}

void check_options(const Options& options, const std::vector<SourceOptions>& sources) {
  US_REQUIRE(!options.store.empty(), "ingest.store: expected a folder, got \"\"");
  US_REQUIRE(options.dt.empty() || base::parse_day(options.dt),
             fmt::format("ingest.dt: expected a day like \"2026-03-01\", got \"{}\"", options.dt));
  US_REQUIRE(
      options.page_window <= options.id_window,
      fmt::format("ingest.page_window: expected at most ingest.id_window ({}), got {}",
                  base::format_duration(options.id_window), base::format_duration(options.page_window)));
  US_REQUIRE(!sources.empty(), "[[source]]: expected at least one source of raw rows, got none");
  std::set<std::string> names;
  for (const SourceOptions& source : sources) {
    US_REQUIRE(!source.path.empty(),
               fmt::format("source \"{}\": path: expected a file or folder, got \"\"", source.name));
    US_REQUIRE(names.insert(source.name).second,
               fmt::format("source \"{}\": expected names that differ, got this one twice", source.name));
  }
}

}  // namespace uniscale::ingest
