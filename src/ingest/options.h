// `[ingest]` and `[[source]]`: which raw logs become the log store ⓪ (docs/ingest.md). Values; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/config.h"

namespace uniscale::ingest {

struct Options {
  std::string store = "log_store";
  std::string quarantine;  // empty: <store>/quarantine
  std::string dt;          // empty: every day found
  base::Duration id_window{2 * base::kDayMs};
  base::Duration page_window{30 * base::kMinuteMs};
  std::string on_bad_file = "stop";
  double max_reject_share = 1.0;
  int64_t batch_rows = 4096;
  int64_t max_row_bytes = int64_t{64} << 20;
  int64_t partitions = 16;
  int64_t task_bytes = int64_t{64} << 20;

  bool skip_bad_files() const { return on_bad_file == "skip"; }
};
const config::Section<Options>& section();

// One kind of raw file and how its columns are called.
struct SourceOptions {
  std::string name;
  std::string table = "requests";
  std::string format = "auto";
  std::string path;
  config::StringMap columns;  // our name → their name
  config::StringMap actions;  // their action → ours
  std::string domain;         // where the rows have none
  std::string time = "auto";
};
const config::ArraySection<SourceOptions>& source_section();

// Throws UserError naming the key if values do not go together: a source without a path, two of one name,
// a column that the table does not have, an id window shorter than the page window.
void check_options(const Options& options, const std::vector<SourceOptions>& sources);

}  // namespace uniscale::ingest
