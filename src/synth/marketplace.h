// Runs the marketplace: draws the shop and its people from the seed, lives through the days, and writes a log
// store ⓪ with the true probabilities beside it. docs/synth.md explains the causal model.
//
//   <store>/…                                                  the log store, see logstore/logstore.h
//   <store>/truth/dt=YYYY-MM-DD/bucket=NNN/part-GGGGGG.parquet  domain, request_id, item_id, click_prob,
//   purchase_prob: one row per
//                                                              candidate of every request, in the order of
//                                                              `requests`
//   <store>/manifests/truth-dt=YYYY-MM-DD.json                 lists them; its body names the hash of the day
//   it belongs to
//
// Truth is a part of its own: no reader of ⓪ sees it, and no column of ⓪ holds it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/time.h"
#include "json/json.h"
#include "schema/log_schema.h"
#include "synth/options.h"

namespace uniscale::synth {

struct Report {
  std::string store;
  int64_t num_days = 0;
  int64_t num_users = 0;
  int64_t num_items = 0;
  int64_t num_requests = 0;
  int64_t num_candidates = 0;
  int64_t num_events = 0;
  int64_t num_events_after_end = 0;  // decided, but their day is past the last one
  json::Value counts;                // by domain and action, defects; also in every day's manifest
};

// One line when a day is published.
using Progress = std::function<void(const std::string& line)>;

// Writes all days; each is published atomically, one after the other. The same options and schema give the
// same bytes for any number of threads. Throws UserError if options or schema do not fit, or if the store
// holds something that was not written with the same options.
Report run(const Options& options, const schema::LogSchema& schema, int num_threads,
           const Progress& progress = {});

// The name of a day's part of the truth: "truth-dt=2026-03-01".
std::string truth_part(base::Day day);

}  // namespace uniscale::synth
