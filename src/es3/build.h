// Builds days of samples (es3.md §8): log store ⓪ → sample set ①.
//
//   <samples>/samples/dt=YYYY-MM-DD/bucket=NNN/part-GGGGGG.parquet   rows by (ts_ms, request_id, user_id)
//   <samples>/manifests/dt=YYYY-MM-DD.json                           docs/formats/samples.md
//   <samples>/reports/dt=YYYY-MM-DD.{json,txt,html}
//   <samples>/reports/failed/dt=YYYY-MM-DD.{json,txt,html}           of a day that a gate kept aside
//
// A day is published at once; a killed run leaves the day as it was. The same inputs, options and seed give
// the same bytes with any number of threads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "es3/options.h"
#include "es3/report.h"
#include "schema/log_schema.h"

namespace uniscale::es3 {

struct BuildRequest {
  Options options;
  std::vector<schema::SequenceOptions> sequences;
  std::string resolved_config;  // stored in the manifest
  GateOptions gates;
  // A day that fails a gate is published all the same, and its manifest says so.
  bool allow_failed_gates = false;
  // Also stores the rows flat, aside, to report their size.
  bool measure_flat = false;
  // Most bytes of one string column of a row group, at most the default; more ends the row group earlier.
  int64_t max_column_bytes = 0x7fffffff;
};

// Builds every day asked for, one after another, each over its buckets in parallel. Throws NotReadyError if a
// day was not ingested, UserError if options or logs are wrong. `on_day` sees each report once its day is
// published or kept aside. A day that fails a gate is not published: the day as it stood stays, the report
// goes to reports/failed, the other days are built, and GateError names them all at the end.
std::vector<DayReport> build(const BuildRequest& request,
                             const std::function<void(const DayReport&)>& on_day = {});

}  // namespace uniscale::es3
