// Raw logs → log store ⓪ (es3.md §0, §9; docs/ingest.md): read in streams, validate every row, quarantine
// what cannot be used, clean what can, publish whole days.
//
// Rows are spilled below `<store>/.spill-<pid>`; memory holds about options.task_bytes a thread, whatever the
// size of the input, and eight bytes an item. The same rows give the same bytes whatever their order, their
// split into files and the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ingest/options.h"
#include "json/json.h"
#include "schema/log_schema.h"

namespace uniscale::ingest {

// What one source gave.
struct SourceReport {
  std::string name;
  int64_t num_files = 0;
  int64_t num_rows = 0;      // read: rows of the files
  int64_t num_rejected = 0;  // of them, in quarantine
};

struct Report {
  std::string store;
  std::vector<std::string> days;        // published, in order
  std::vector<std::string> empty_days;  // of them, those without a row: asked for, and nothing there
  std::vector<SourceReport> sources;
  std::map<std::string, int64_t> rejected;  // rows by reason
  std::map<std::string, int64_t> repaired;  // accepted by rule: by rule
  std::map<std::string, int64_t> cleaned;   // by cleaning rule
  int64_t num_requests = 0;
  int64_t num_candidates = 0;
  int64_t num_events = 0;
  int64_t num_items = 0;  // versions in the store afterwards, where the run had any
  int64_t num_users = 0;

  int64_t num_rows() const;
  int64_t num_rejected() const;
  json::Value to_json() const;
  // Lines for people.
  std::string to_text() const;
};

// Says what is going on, a line each.
using Progress = std::function<void(const std::string& line)>;

// Throws UserError (a file that cannot be read, options that do not fit), GateError (more rows rejected than
// ingest.max_reject_share; nothing is published), IoError.
Report run(const Options& options, const std::vector<SourceOptions>& sources, const schema::LogSchema& schema,
           const std::string& resolved_config, int threads, const Progress& progress);

}  // namespace uniscale::ingest
